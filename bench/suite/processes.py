"""Servers and loads: started, waited for, and ended whatever happens. Each is the leader of a process group of its
own, and only such groups are ever ended."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import tempfile
import time

_running = set()
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A program said no, or nothing; the text says which and what."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def process(command, **how):
    """A process, ended at the end."""
    child = subprocess.Popen([str(word) for word in command], start_new_session=True, preexec_fn=_die_with_parent, **how)
    _running.add(child)
    try:
        yield child
    finally:
        end(child)


def end(child):
    """By SIGTERM, and after five seconds by SIGKILL; then what it left in its group."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    _running.discard(child)


def end_all():
    for child in list(_running):
        end(child)


def output_of(command, timeout, text_in=None, **variables):
    """What a program prints that ends by itself. Raises Failed."""
    with process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                 env=os.environ | variables) as child:  # fmt: skip
        try:
            out, errors = child.communicate(text_in, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{os.path.basename(str(command[0]))}: not done after {timeout:.0f} s") from None
    if child.returncode != 0:
        raise Failed(f"{os.path.basename(str(command[0]))}: {errors.strip() or out.strip() or child.returncode}")
    return out


class Server:
    """A server that runs, its process id and its port."""

    def __init__(self, child, port):
        self.pid = child.pid
        self.port = port


@contextlib.contextmanager
def server(command, *arguments):
    """Starts `command 0 arguments...`, which says on stderr "serving 127.0.0.1:PORT". Raises Failed."""
    with tempfile.TemporaryFile("w+") as says:
        with process([*command, 0, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=says) as child:
            until = time.monotonic() + 20
            while True:
                text = os.pread(says.fileno(), 4096, 0).decode(errors="replace")
                if found := re.search(r"serving 127\.0\.0\.1:(\d+)\n", text):
                    break
                if child.poll() is not None or time.monotonic() > until:
                    raise Failed(f"{os.path.basename(str(command[-1]))} does not serve: {text.strip()}")
                time.sleep(0.005)
            yield Server(child, int(found[1]))
            if child.poll() is not None:
                raise Failed(f"{os.path.basename(str(command[-1]))} ended by itself: {child.returncode}")


def parse_strace(table):
    """{system call: how often} of what `strace -c` prints."""
    calls = {}
    for line in table.splitlines():
        # "% time  seconds  usecs/call  calls  [errors]  syscall"
        words = line.split()
        if len(words) in (5, 6) and re.fullmatch(r"[\d.]+", words[0]) and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls


def system_calls(server_running, load):
    """What a server calls in the measured part of a load that waits for us before and after it: (the load's report,
    {system call: how often a request}). Raises Failed."""
    with tempfile.TemporaryDirectory() as folder:
        table = os.path.join(folder, "calls")
        with process([*load, "--wait", 1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loading:
            if loading.stdout.readline() != "ready\n":
                raise Failed("the load is not ready")
            tracing = ["strace", "-c", "-f", "-o", table, "-p", server_running.pid]
            with process(tracing, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
                for line in tracer.stderr:
                    if "attached" in line:
                        break
                else:
                    raise Failed("strace does not attach")
                loading.stdin.write("\n")
                loading.stdin.flush()
                answer = loading.stdout.readline()
                tracer.send_signal(signal.SIGINT)
                try:
                    tracer.communicate(timeout=10)
                except subprocess.TimeoutExpired:
                    raise Failed("strace does not let go") from None
            loading.communicate("\n", timeout=30)
        if not answer:
            raise Failed("the load failed under strace")
        report = json.loads(answer)
        with open(table, encoding="utf-8") as file:
            calls = parse_strace(file.read())
    return report, {name: count / report["requests"] for name, count in sorted(calls.items(), key=lambda c: -c[1])}

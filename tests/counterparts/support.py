"""What the tests here share: weft's server and client as processes, certificates, and a look at descriptors.

Each *_test.py is a program of unittest that CTest runs; WEFT_COUNTERPARTS is where `server` and `client` are. Nothing
but 127.0.0.1 is used, on free ports; every wait has an end, and every process that was started is ended."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from tell import tell  # noqa: E402

LIMIT = 30  # seconds, for what should take none
PROGRAMS = os.environ.get("WEFT_COUNTERPARTS", ".")


def needs(*programs):
    """Skips a test where one of them is not installed."""
    missing = [name for name in programs if find(name) is None]
    return unittest.skipIf(missing, f"not installed: {' '.join(missing)}")


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = self.enter(tempfile.TemporaryDirectory())

    def enter(self, manager):
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def start(self, *command, **options):
        """A process, killed at the end if it still runs."""
        process = subprocess.Popen([str(part) for part in command], **options)

        def end():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()

        self.addCleanup(end)
        return process

    def run_command(self, *command, code=0, **options):
        """The output of a program that ends by itself, with that code."""
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=LIMIT, **options)  # fmt: skip
        self.assertEqual(done.returncode, code, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        return done.stdout.decode(errors="replace")

    def serve(self, speaks, loops=1, **options):
        """weft's server. When the test ends it must have no more descriptors than at first, and drain."""
        server = Server(self, speaks, loops, options)
        self.addCleanup(server.stop)
        return server

    def client(self, port, speaks, code=0, **options):
        """The lines that weft's client prints."""
        command = [os.path.join(PROGRAMS, "client"), "--to", f"127.0.0.1:{port}", "--speaks", speaks]
        return self.run_command(*command, *flags(options), code=code).splitlines()


def flags(options):
    return [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), value)]


class Server:
    def __init__(self, case, speaks, loops, options):
        command = [os.path.join(PROGRAMS, "server"), "--speaks", speaks, "--loops", loops]
        self._case = case
        self._process = case.start(*command, *flags(options), stdout=subprocess.PIPE)
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline().decode().rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"
        # The first connection to a loop makes what that loop keeps. There must be some at once, to come to all loops.
        before = settled(lambda: descriptors(self.pid))
        some = [socket.create_connection(("127.0.0.1", self.port), LIMIT) for _ in range(4 * int(loops))]
        wait_until(lambda: descriptors(self.pid) >= before + len(some), "the server does not accept")
        # They stay until each loop waits for them: one that finds them closed already makes nothing yet.
        settled(lambda: descriptors(self.pid), 20)
        for one in some:
            one.close()
        self._descriptors = settled(lambda: descriptors(self.pid))

    def stop(self):
        try:
            wait_until(lambda: descriptors(self.pid) <= self._descriptors, "the server has descriptors left", 10)
        finally:
            tell(self._process, signal.SIGTERM)
            code = self._process.wait(LIMIT)
        self.report = self._process.stdout.read().decode()
        self._case.assertEqual(code, 0, self.report)
        self._case.assertRegex(self.report, "^accepted [0-9]+ cancelled 0 open 0$")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled(look, times=5):
    """What look() gives when it has given the same for a while."""
    same = 0
    value = look()
    while same < times:
        time.sleep(0.01)
        last, value = value, look()
        same = same + 1 if value == last else 0
    return value


def wait_until(holds, what, limit=LIMIT):
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.01)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    def answers():
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), LIMIT).close()
            return True

    wait_until(answers, f"nobody listens on {port}")


@functools.lru_cache(maxsize=None)
def papers():
    """A folder with authority.pem, and server.pem and client.pem of its, with their keys; other.pem is nobody's."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, True)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT)  # fmt: skip

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("authority", "other"):
        openssl("req", "-x509", *new_key, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out",
                f"{name}.pem")  # fmt: skip
    with open(os.path.join(folder, "names"), "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *new_key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


def paper(name):
    return os.path.join(papers(), name)


def identity():
    """The options of a TLS server."""
    return {"certificates": paper("server.pem"), "key": paper("server.key")}

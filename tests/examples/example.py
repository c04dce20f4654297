"""What the tests of the example servers share: a program that runs, and sockets to talk to it."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from tell import tell  # noqa: E402

PATIENCE = 60  # seconds, for what should take far less, on a busy machine with a sanitizer
FOLDER = os.environ.get("WEFT_EXAMPLES_DIR", "build/dev/examples")
SANITIZED = any(name in FOLDER for name in ("asan", "tsan"))  # then memory says little


class Program:
    """One of the examples, on ports that the system chooses. However it is treated, it must end in order."""

    def __init__(self, name, *arguments):
        self.name = name
        self.process = subprocess.Popen(
            [os.path.join(FOLDER, name), *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output = ""
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ports = [int(port) for port in re.findall(r":(\d+)(?= |$)", self.wait_for(r"^listening on .*").strip())]
        self.port = self.ports[0]

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern):
        """The first line from now on that matches."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                self.process.kill()
                raise AssertionError(f"{self.name} never said {pattern!r}, but: {self.output}") from None
            if line is None:
                raise AssertionError(f"{self.name} ended; it said: {self.output}")
            self.output += line
            if re.search(pattern, line):
                return line

    def stop(self, number=signal.SIGTERM):
        """Has it end; gives its last words. It must end with status 0."""
        tell(self.process, number)
        return self.ended()

    def ended(self):
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} does not end; it said: {self.output}") from None
        self._reader.join(PATIENCE)
        while (line := self._lines.get()) is not None:
            self.output += line
        self.process.stdout.close()
        if status != 0:
            raise AssertionError(f"{self.name} ended with {status}; it said: {self.output}")
        return self.output

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self):
        """In bytes."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            try:
                self.stop()
            except AssertionError:
                if kind is None:
                    raise


def complaint(name, *arguments):
    """What one of the examples says that cannot start with these. It must end by itself, with status 1."""
    done = subprocess.run([os.path.join(FOLDER, name), *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 1:
        raise AssertionError(f"{name} ended with {done.returncode}; it said: {done.stdout}")
    return done.stdout


class Client:
    """A socket that is read with patience."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.got = b""

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def receive_to(self, end):
        end = end.encode() if isinstance(end, str) else end
        while end not in self.got:
            some = self.socket.recv(65536)
            if not some:
                raise EOFError(f"the connection ended; so far: {self.got!r}")
            self.got += some
        before, _, self.got = self.got.partition(end)
        return (before + end).decode("utf-8", "replace")

    def line(self):
        return self.receive_to("\n").rstrip("\n")

    def rest(self):
        """All that comes until the other side ends the connection, in order or by a reset."""
        pieces, self.got = [self.got], b""
        try:
            while some := self.socket.recv(65536):
                pieces.append(some)
        except ConnectionResetError:
            pass
        return b"".join(pieces)

    def ends(self):
        return self.rest() == b""

    def end_writing(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def eventually(is_so):
    """Tries until it is so. False when that took too long."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def abuse(port, good, rounds=20):
    """Clients as they should not be. `good` begins like what a proper one would send."""
    half = good[: len(good) // 2].encode()
    for i in range(rounds):
        for data in (b"", half, b"\0\xff\r\n" * 10, b"x" * 200_000, good.encode()):
            client = Client(port)
            try:
                client.send(data)
                if i % 2:
                    client.reset()
            except OSError:
                pass
            client.socket.close()


main = unittest.main

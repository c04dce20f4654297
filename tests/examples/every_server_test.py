"""What each server of the examples owes whoever runs it: to say what is wrong, and to end when it cannot go on."""

import ctypes
import os
import re
import socket
import tempfile
import unittest

import example
from example import Client, Program

SERVERS = ("08_echo", "09_chat", "10_http_server", "11_key_value", "12_static_files", "13_reverse_proxy",
           "image_service/image_service")
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def listening_sockets(process):
    """Descriptors of ours for the sockets that it listens on. OSError when the system does not let us."""
    system = ctypes.CDLL(None, use_errno=True)

    def call(*arguments):
        result = system.syscall(*arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), "system call")
        return result

    found = []
    pidfd = call(PIDFD_OPEN, process.pid, 0)
    try:
        for name in os.listdir(f"/proc/{process.pid}/fd"):
            try:
                what = os.readlink(f"/proc/{process.pid}/fd/{name}")
            except FileNotFoundError:  # closed since it was listed
                continue
            if not what.startswith("socket:"):
                continue
            copy = socket.socket(fileno=call(PIDFD_GETFD, pidfd, int(name), 0))
            if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(copy)
            else:
                copy.close()
        return found
    finally:
        os.close(pidfd)


class EveryServer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def each(self):
        for name in SERVERS:
            if os.access(os.path.join(example.FOLDER, name), os.X_OK):  # else its libraries are not there
                yield name, ("--folder", self.folder) if name.startswith("image") else ()

    def test_says_what_is_wrong_with_its_options(self):
        for name, more in self.each():
            for given, why in ((("--port", "x"), "--port x: it takes a number from 0 to 65535\n"),
                               (("--port", 65536), "--port 65536: it takes a number from 0 to 65535\n"),
                               (("--port", -1), "--port -1: it takes a number from 0 to 65535\n"),
                               (("--port", ""), "--port : it takes a number from 0 to 65535\n"),
                               (("--port",), "--port what? It takes a value\n"),
                               (("--help",), "unknown option --help; there are: --"),
                               (("--prot", 1), "unknown option --prot; there are: --")):
                said = example.complaint(name, *more, *given)
                self.assertTrue(said.startswith(f"{name.split('/')[-1]}: {why}"), said)
            said = example.complaint(name, *more, "--help")
            limit = re.search(r" (--(silence|fetch)-ms)", said)[1]
            self.assertIn(f"{limit} 0: it takes a number of milliseconds, at least 1", example.complaint(name, *more, limit, 0))

    def test_says_that_its_port_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            for name, more in self.each():
                self.assertIn(f"listen on 127.0.0.1:{port}: Address already in use",
                              example.complaint(name, *more, "--port", port))

    def test_ends_when_it_can_no_longer_serve(self):
        for name, more in self.each():
            server = Program(name, "--port", 0, *more)
            self.addCleanup(server.process.kill)
            try:
                sockets = listening_sockets(server.process)
            except PermissionError:
                self.skipTest("the system lets nobody take another's descriptor")
            for its in sockets:
                with its:
                    if its.getsockname()[1] == server.port:
                        its.shutdown(socket.SHUT_RDWR)
            with self.assertRaisesRegex(AssertionError, rf"ended with 1; it said: (?s:.*){name.split('/')[-1]}: accept "):
                server.ended()

    def test_ends_in_order_whoever_is_there(self):
        for name, more in self.each():
            limit = {"09_chat": (), "11_key_value": (), "12_static_files": ("--silence-ms", 200)}
            with Program(name, "--port", 0, *more, *limit.get(name, ("--grace-ms", 100))) as server:
                with Client(server.port), Client(server.port) as half, Client(server.port) as gone:
                    half.send("GET / HT")
                    gone.send("GET / HTTP/1.1\r\n")
                    gone.reset()
                    self.assertIn("\nstopped: ", server.stop())


if __name__ == "__main__":
    example.main()

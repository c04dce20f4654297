"""The loads notice wrong answers. Needs their programs: ctest tells where, in WEFT_BENCH_BUILD."""

import os
import pathlib
import re
import socketserver
import subprocess
import threading
import unittest

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!"


@unittest.skipUnless("WEFT_BENCH_BUILD" in os.environ, "WEFT_BENCH_BUILD is not set")
class Loads(unittest.TestCase):
    def load(self, workload, answer, *options):
        """The load's process, against a server that gives answer(request, how many it has answered)."""

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                count = 0
                try:
                    while data := self.request.recv(65536):
                        self.request.sendall(answer(data, count))
                        count += 1
                except ConnectionError:
                    pass

        program = pathlib.Path(os.environ["WEFT_BENCH_BUILD"], "bench", workload, "load")
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port = server.server_address[1]
            done = subprocess.run([program, "--port", str(port), "--seconds", "0.05", *options],
                                  capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
            server.shutdown()
        return done

    def refuses(self, pattern, *how):
        done = self.load(*how)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(re.search(pattern, done.stderr), done.stderr)

    def test_right_answers_are_taken(self):
        self.assertEqual(self.load("echo", lambda data, _: data, "--connections", "2").returncode, 0)
        self.assertEqual(self.load("http", lambda *_: HELLO).returncode, 0)

    def test_an_echo_that_differs_in_a_byte_is_refused(self):
        self.refuses("echo is wrong", "echo", lambda data, _: data[:-1] + bytes([data[-1] ^ 1]))

    def test_an_echo_of_the_message_before_is_refused(self):
        first = []

        def stale(data, _):
            first.append(data)
            return first[0]

        self.refuses("echo is wrong", "echo", stale)

    def test_http_that_goes_wrong_later_is_refused(self):
        def after_three(wrong):
            return lambda _, count: HELLO if count < 3 else wrong

        self.refuses("answer is wrong", "http", after_three(HELLO.replace(b"200 OK", b"500 No")))
        self.refuses("answer is wrong", "http", after_three(HELLO.replace(b"world", b"wrold")))
        self.refuses("more than one", "http", after_three(HELLO + HELLO))
        self.refuses("no HTTP", "http", after_three(b"hello\r\n\r\n"))

    def test_a_wrong_small_or_heavy_answer_is_refused(self):
        options = ("--kinds", "1", "--connections", "1")
        self.refuses("heavy answer is wrong", "mixed", lambda data, _: data, *options, "--heavy", "1")
        self.refuses("small answer is wrong", "mixed", lambda data, _: bytes(16), *options, "--heavy", "0")


if __name__ == "__main__":
    unittest.main()

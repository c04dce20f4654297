"""wrk, and clients that are killed in the midst of it."""

import re
import signal
import subprocess
import time
import unittest

import support
from support import identity, needs, paper


class Wrk(support.Case):
    def wrk(self, at, seconds=1):
        out = self.run_command("wrk", "-t", 1, "-c", 50, "-d", f"{seconds}s", at)
        self.assertNotIn("Socket errors", out)
        self.assertNotIn("Non-2xx", out)
        self.assertGreater(int(re.search(r"(\d+) requests in", out)[1]), 50)

    @needs("wrk")
    def test_finds_no_error(self):
        for loops in (1, 2):
            self.wrk(f"http://{self.serve('http', loops).address}/")

    @needs("wrk", "openssl")
    def test_finds_no_error_over_tls(self):
        for loops in (1, 2):
            self.wrk(f"https://{self.serve('http', loops, **identity()).address}/")


class Killed(support.Case):
    """A client that is killed: its connections break in the midst of requests, and the server goes on."""

    def kill_again_and_again(self, server, speaks, **options):
        command = ["--to", server.address, "--speaks", speaks, "--connections", "50", "--requests", "100000"]
        for i in range(10):
            client = self.start(f"{support.PROGRAMS}/client", *command, *support.flags(options),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            # Under way: there are connections. Not timed, but killed at another point each time.
            support.wait_until(lambda: support.descriptors(server.pid) > 20, "the client does not connect")
            time.sleep(0.01 * i)
            client.send_signal(signal.SIGKILL)
            self.assertEqual(client.wait(support.LIMIT), -signal.SIGKILL)
        self.client(server.port, speaks, connections=10, requests=10, **options)

    def test_amid_http(self):
        for loops in (1, 2):
            self.kill_again_and_again(self.serve("http", loops), "http")

    def test_amid_lines(self):
        for loops in (1, 2):
            self.kill_again_and_again(self.serve("lines", loops), "lines")

    @needs("openssl")
    def test_amid_tls(self):
        for loops in (1, 2):
            self.kill_again_and_again(self.serve("http", loops, **identity()), "http", name="localhost",
                                      authorities=paper("authority.pem"))  # fmt: skip


if __name__ == "__main__":
    unittest.main()

"""How many system calls an echoed message costs the server, as strace(1) counts them. No times are looked at."""

import os
import re
import signal
import socket
import unittest

from support import LIMIT, PROGRAMS, Case, needs


@needs("strace")
class SystemCalls(Case):
    def setUp(self):
        super().setUp()
        log = os.path.join(self.folder, "calls")
        # Of each thread a file; and no look for leaks at the end, which a sanitizer cannot take while it is traced.
        tracer = ["strace", "-ff", "-s", "16", "-o", log, "-E", "ASAN_OPTIONS=detect_leaks=0"]
        server = ["sh", "-c", 'echo $$; exec "$0" --speaks echo', os.path.join(PROGRAMS, "server")]
        self.server = self.start(*tracer, *server, stdout=-1, text=True)
        self.clients = []
        self.number = int(self.server.stdout.readline())
        self.addCleanup(self.end)
        self.port = int(re.search(r":(\d+)$", self.server.stdout.readline()).group(1))

    def end(self):
        for client in self.clients:
            client.close()  # it drains at once
        if self.server.poll() is None:
            os.kill(self.number, signal.SIGTERM)
            self.server.wait(LIMIT)

    def connect(self):
        client = self.enter(socket.create_connection(("127.0.0.1", self.port), LIMIT))
        self.clients.append(client)
        return client

    def connect_one_that_waits(self):
        """One whose descriptor is known to the loop, since its first read found nothing before the second was served."""
        first, self.other = self.connect(), self.connect()
        self.echo([self.other], b"and the first has waited")
        return first

    def echo(self, clients, text):
        for c in clients:
            c.sendall(text)
        for c in clients:
            self.assertEqual(c.recv(len(text), socket.MSG_WAITALL), text)

    def calls(self):
        """What the loop has called from the first message "begin" to the message "end", that one's echo included."""
        self.end()
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
            marks = [i for i, line in enumerate(lines) if re.search(r'^send.*"(begin|end)"', line)]
            if marks:
                self.assertEqual(len(marks), 2)
                return lines[marks[0] + 1 : marks[1] + 1]
        self.fail("no thread has sent anything")

    def test_one_message_at_a_time_costs_three(self):
        """The wait for it, the read, the write. No second read that finds nothing, and no second wait."""
        clients = [self.connect_one_that_waits()]
        self.echo(clients, b"begin")
        count = 200
        for i in range(count - 1):
            self.echo(clients, b"%064d" % i)
        self.echo(clients, b"end")
        calls = self.calls()
        rare = len(calls) - 3 * count  # the watch over the idle, say
        self.assertLessEqual(rare, count // 20, calls)
        for one in ("epoll", "recv", "send"):
            self.assertAlmostEqual(sum(c.startswith(one) for c in calls), count, delta=count // 20, msg=str(calls))

    def test_messages_that_are_there_together_share_a_wait(self):
        clients = [self.connect() for _ in range(32)]
        self.echo(clients, b"%064d" % 0)  # each has waited now, so its descriptor is known
        self.echo(clients[:1], b"begin")
        rounds = 20
        for i in range(rounds):
            self.echo(clients, b"%064d" % i)
        self.echo(clients[:1], b"end")
        self.assertLess(len(self.calls()) / (rounds * len(clients)), 2.8)

    def test_a_message_as_large_as_the_buffer_is_read_once(self):
        """No second read that finds nothing, but at first."""
        clients = [self.connect_one_that_waits()]
        self.echo(clients, b"begin")
        count = 50
        for _ in range(count):
            self.echo(clients, b"x" * 16 * 1024)
            self.echo([self.other], b"and the first waits again")
        self.echo(clients, b"end")
        in_vain = [c for c in self.calls() if c.startswith("recv") and "EAGAIN" in c]
        self.assertLessEqual(len(in_vain), count // 5, in_vain)


if __name__ == "__main__":
    unittest.main()

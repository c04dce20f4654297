"""Load and faults: connections held, slow and broken clients among good ones, SIGTERM under load, starts and stops.

    python3 tests/load/load_test.py           a short form, which ctest runs
    python3 tests/load/load_test.py --long    10,000 connections (or as many as descriptors allow) and on each of them what it
                                              would ask in ten minutes, once a second, but as fast as it goes; a thousand
                                              starts and stops; two minutes here, and ten at the most for the connections

WEFT_EXAMPLES_DIR says where the built examples are. Only 127.0.0.1 is talked to, and only what it started is ended.
For 10,000 connections the server and this program need `ulimit -n` at 10,300 or more.
"""

import os
import resource
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples"))
import example  # noqa: E402
from example import Client, Program  # noqa: E402

LONG = "--long" in sys.argv
if LONG:
    sys.argv.remove("--long")
HELLO = "GET /hello HTTP/1.1\r\nHost: here\r\n\r\n"


def allowed_connections(wanted):
    """As many as descriptors allow, ours and the server's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * wanted), hard))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)


class Load(unittest.TestCase):
    def test_holds_connections_without_growth(self):
        count = allowed_connections(10_000 if LONG else 500)
        with Program("08_echo", "--port", 0, "--connections", count + 10, "--silence-ms", 600_000) as server:
            clients = [Client(server.port) for _ in range(count)]
            for client in clients:
                self.addCleanup(client.socket.close)

            def round_trip(i):
                for client in clients:
                    client.send(b"%d\n" % i)
                for client in clients:
                    self.assertEqual(client.line(), str(i))

            for i in range(3):
                round_trip(i)
            descriptors, memory = server.descriptors(), [server.resident()]
            self.assertGreaterEqual(descriptors, count)
            until, rounds = time.monotonic() + 600, 0
            while rounds < (600 if LONG else 30) and time.monotonic() < until:
                round_trip(rounds)
                rounds += 1
                if rounds % 10 == 0:
                    self.assertEqual(server.descriptors(), descriptors)
                    memory.append(server.resident())
            if not example.SANITIZED:
                self.assertLess(max(memory) - memory[0], 2_000_000 + memory[0] / 20)
            for client in clients:
                client.socket.close()
            self.assertTrue(example.eventually(lambda: server.descriptors() <= descriptors - count))
            self.assertIn(f"stopped: {count} connections, ", server.stop())
            if LONG:
                print(f"{count} connections held through {rounds} rounds, {memory[0] / count / 1000:.1f} KB each at first, "
                      f"{memory[-1] / count / 1000:.1f} in the end")

    def test_good_clients_are_served_among_bad_ones(self):
        with Program("10_http_server", "--port", 0, "--silence-ms", 1500) as server:
            before = server.descriptors()
            slow = [Client(server.port) for _ in range(100)]
            stopped = threading.Event()

            def drip():  # slow-loris: a byte at a time, never a whole request
                while not stopped.wait(0.05):
                    for client in slow:
                        try:
                            client.send("G")
                        except OSError:
                            pass

            dripping = threading.Thread(target=drip)
            dripping.start()
            abusing = threading.Thread(target=example.abuse, args=(server.port, HELLO, 50 if LONG else 5))
            abusing.start()
            worst = 0
            try:
                with Client(server.port) as good:
                    for _ in range(2000 if LONG else 300):
                        start = time.monotonic()
                        good.send(HELLO)
                        good.receive_to("\r\n\r\nhello\n")
                        worst = max(worst, time.monotonic() - start)
                for client in slow:  # hung up on, with or without a word
                    self.assertIn(client.rest()[:12], (b"HTTP/1.1 408", b"HTTP/1.1 400", b""))
                    client.socket.close()
            finally:
                stopped.set()
                dripping.join()
                abusing.join()
            self.assertTrue(example.eventually(lambda: server.descriptors() <= before + 1))
            if LONG:
                print(f"the slowest of the good requests took {worst * 1000:.1f} ms")

    def test_sigterm_under_load_loses_no_accepted_request(self):
        """Every request that was begun before the server closed its connection is answered whole."""
        for _ in range(20 if LONG else 3):
            with Program("10_http_server", "--port", 0, "--grace-ms", 50_000) as server:
                lost, answered = [], [0] * 8

                def ask(i):
                    client = Client(server.port)
                    try:
                        while True:
                            client.send(HELLO)
                            head = client.receive_to("\r\n\r\n")
                            client.receive_to("hello\n")
                            answered[i] += 1
                            if "Connection: close" in head:
                                return
                    except (EOFError, OSError) as error:
                        # Closed while it was idle: that is no loss, unless some of an answer came.
                        if client.got:
                            lost.append((client.got, error))
                    finally:
                        client.socket.close()

                askers = [threading.Thread(target=ask, args=(i,)) for i in range(len(answered))]
                for asker in askers:
                    asker.start()
                self.assertTrue(example.eventually(lambda: min(answered) > 10))
                said = server.stop()
                for asker in askers:
                    asker.join()
                self.assertEqual(lost, [])
                self.assertIn(f"stopped: {sum(answered)} requests answered on 8 connections, 0 refused, 0 cut off", said)

    def test_no_work_is_done_for_clients_that_have_gone(self):
        with Program("10_http_server", "--port", 0, "--workers", 1, "--background", 0) as server:
            for _ in range(30):
                with Client(server.port) as client:
                    client.send("GET /cpu?ms=1000 HTTP/1.1\r\nHost: here\r\n\r\n")
            with Client(server.port) as client:
                client.send("GET /cpu?ms=1 HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                self.assertTrue(client.rest().startswith(b"HTTP/1.1 200 "))
            with open(f"/proc/{server.process.pid}/stat") as stat:
                used = sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
            self.assertLess(used, 5)  # of CPU time, not of waiting: it was asked for 30

    def test_starts_and_stops_in_a_row(self):
        for i in range(1000 if LONG else 20):
            with Program("10_http_server", "--port", 0) as server, Client(server.port) as client:
                if i % 2:
                    client.send(HELLO)
                    client.receive_to("hello\n")
                server.stop(signal.SIGINT if i % 3 else signal.SIGTERM)


if __name__ == "__main__":
    example.main()

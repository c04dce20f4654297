"""The echo server of the examples, as its clients see it."""

import shutil
import signal
import subprocess
import threading
import unittest

import example
from example import Client, Program


class Echo(unittest.TestCase):
    def test_gives_back_what_it_is_sent(self):
        data = bytes(i * 7 % 256 for i in range(1_000_000))
        with Program("08_echo", "--port", 0) as server, Client(server.port) as client:
            sender = threading.Thread(target=lambda: (client.send(data), client.end_writing()))
            sender.start()
            self.assertEqual(client.rest(), data)
            sender.join()

    def test_serves_many_at_once(self):
        with Program("08_echo", "--port", 0) as server:
            clients = [Client(server.port) for _ in range(200)]
            for i, client in enumerate(clients):
                client.send(f"I am {i}\n")
            for i, client in enumerate(clients):
                self.assertEqual(client.line(), f"I am {i}")
                client.socket.close()
            self.assertIn("stopped: 200 connections, ", server.stop())

    @unittest.skipUnless(shutil.which("nc"), "netcat is not installed")
    def test_talks_to_netcat(self):
        with Program("08_echo", "--port", 0) as server:
            said = subprocess.run(["nc", "-N", "127.0.0.1", str(server.port)], input=b"hello\n",
                                  capture_output=True, timeout=example.PATIENCE)
            self.assertEqual(said.stdout, b"hello\n")

    def test_hangs_up_on_the_silent_and_on_who_takes_nothing(self):
        with Program("08_echo", "--port", 0, "--silence-ms", 300) as server:
            with Client(server.port) as silent, Client(server.port) as deaf:
                self.assertTrue(silent.ends())
                with self.assertRaises(OSError):
                    while True:
                        deaf.send(b"x" * 100_000)
            self.assertIn(", 2 failed, 0 cut off", server.stop())

    def test_waits_at_its_cap(self):
        with Program("08_echo", "--port", 0, "--connections", 1) as server:
            first, second = Client(server.port), Client(server.port)
            first.send("1\n")
            self.assertEqual(first.line(), "1")
            second.send("2\n")
            second.socket.settimeout(0.1)
            with self.assertRaises(TimeoutError):
                second.line()
            first.socket.close()
            second.socket.settimeout(example.PATIENCE)
            self.assertEqual(second.line(), "2")
            second.socket.close()

    def test_survives_bad_clients(self):
        with Program("08_echo", "--port", 0) as server:
            before = server.descriptors()
            example.abuse(server.port, "hello\n")
            with Client(server.port) as client:
                client.send("still there?\n")
                self.assertEqual(client.line(), "still there?")
            self.assertTrue(example.eventually(lambda: server.descriptors() <= before + 1), server.descriptors())

    def test_ends_in_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with Program("08_echo", "--port", 0, "--grace-ms", 100) as server, Client(server.port) as idle:
                idle.send("x\n")
                idle.line()
                self.assertIn("stopped: 1 connections, 2 bytes, 0 failed, 1 cut off", server.stop(number))
                self.assertTrue(idle.ends())


if __name__ == "__main__":
    example.main()

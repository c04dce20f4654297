"""The key-value store of the examples, as its clients see it."""

import random
import threading
import time
import unittest

import example
from example import Client, Program


class KeyValue(unittest.TestCase):
    def ask(self, client, line):
        client.send(line + "\n")
        return client.line()

    def test_answers_each_command(self):
        with Program("11_key_value", "--port", 0, "--keys", 3) as server, Client(server.port) as client:
            for line, answer in (
                ("GET colour", "NONE"),
                ("SET colour 0 dark green ", "VALUE dark green "),
                ("SET empty 0 ", "VALUE "),
                ("SET colour 0 red\r", "VALUE red"),
            ):
                if line.startswith("SET"):
                    self.assertEqual(self.ask(client, line), "OK")
                    line = "GET " + line.split()[1]
                self.assertEqual(self.ask(client, line), answer, line)
            for line, answer in (
                ("TTL colour", "INT 0"),
                ("TTL none", "NONE"),
                ("INCR n", "INT 1"),
                ("INCR n", "INT 2"),
                ("GET n", "VALUE 2"),
                ("KEYS", "INT 3"),
                ("SET colour 0 blue", "OK"),
                ("SET one 0 too many", "ERROR the store is full"),
                ("INCR colour", "ERROR that is no number to add to"),
                ("DEL colour", "INT 1"),
                ("DEL colour", "INT 0"),
                ("KEYS", "INT 2"),
                ("SET n 0 9223372036854775807", "OK"),
                ("INCR n", "ERROR that is no number to add to"),
                ("GET", "ERROR a key has 1 to 250 bytes"),
                ("GET " + "k" * 251, "ERROR a key has 1 to 250 bytes"),
                ("GET a b", "ERROR one key is enough"),
                ("SET a b c", "ERROR for how many seconds? SET key seconds value"),
                ("SET a", "ERROR for how many seconds? SET key seconds value"),
                ("get n", "ERROR no such command: GET, SET, DEL, TTL, INCR, KEYS or QUIT"),
                ("", "ERROR no such command: GET, SET, DEL, TTL, INCR, KEYS or QUIT"),
                ("QUIT", "OK"),
            ):
                self.assertEqual(self.ask(client, line), answer, line)
            self.assertTrue(client.ends())

    def test_forgets_what_has_had_its_time(self):
        with Program("11_key_value", "--port", 0) as server, Client(server.port) as client:
            self.assertEqual(self.ask(client, "SET a 1 x"), "OK")
            self.assertEqual(self.ask(client, "SET b 1 x"), "OK")
            self.assertEqual(self.ask(client, "SET c 100 x"), "OK")
            self.assertIn(self.ask(client, "TTL c"), ("INT 100", "INT 99", "INT 98"))
            self.assertTrue(example.eventually(lambda: self.ask(client, "GET a") == "NONE"))
            # b goes although nobody asks for it.
            self.assertTrue(example.eventually(lambda: self.ask(client, "KEYS") == "INT 1"))

    def test_keeps_no_more_bytes_than_it_may(self):
        full = "ERROR the store is full"
        with Program("11_key_value", "--port", 0, "--bytes", 1000) as server, Client(server.port) as client:
            for line, answer in (
                ("SET a 0 " + "x" * 899, "OK"),     # 900
                ("SET b 0 " + "y" * 99, "OK"),      # 1000
                ("SET c 0 ", full),
                ("INCR n", full),
                ("SET b 0 " + "y" * 100, full),
                ("SET a 1 " + "x" * 900, full),
                ("GET a", "VALUE " + "x" * 899),    # all is as it was
                ("TTL a", "INT 0"),
                ("GET b", "VALUE " + "y" * 99),
                ("KEYS", "INT 2"),
                ("SET b 0 " + "z" * 97, "OK"),      # 998
                ("SET n 0 9", "OK"),                # 1000
                ("INCR n", full),                   # 10 is longer
                ("GET n", "VALUE 9"),
                ("DEL a", "INT 1"),
                ("INCR n", "INT 10"),
                ("SET d 0 " + "x" * 1000, full),    # more than all of it
            ):
                self.assertEqual(self.ask(client, line), answer, line)

    def test_is_not_filled_by_who_sends_without_end(self):
        with Program("11_key_value", "--port", 0, "--bytes", 2_000_000) as server, Client(server.port) as client:
            before, value = server.resident(), "x" * 60_000
            sender = threading.Thread(target=lambda: client.send("".join(f"SET {i} 0 {value}\n" for i in range(1000))))
            sender.start()
            said = [client.line() for _ in range(1000)]
            sender.join()
            self.assertEqual(said, ["OK"] * 33 + ["ERROR the store is full"] * 967)
            if not example.SANITIZED:
                self.assertLess(server.resident() - before, 20_000_000)

    def test_what_has_had_its_time_makes_room(self):
        with Program("11_key_value", "--port", 0, "--bytes", 1000, "--keys", 3) as server, Client(server.port) as client:
            self.assertEqual(self.ask(client, "SET a 0 " + "x" * 99), "OK")
            self.assertEqual(self.ask(client, "SET b 1 " + "x" * 799), "OK")
            self.assertEqual(self.ask(client, "SET c 1 "), "OK")
            self.assertTrue(example.eventually(lambda: self.ask(client, "SET d 0 " + "x" * 898) == "OK"))
            self.assertEqual(self.ask(client, "GET a"), "VALUE " + "x" * 99)

    def test_answers_pipelined_commands_in_order(self):
        with Program("11_key_value", "--port", 0) as server, Client(server.port) as client:
            count = 20_000
            commands = "".join(f"SET {i % 100} 0 {i}\nGET {i % 100}\n" for i in range(count)) + "QUIT\n"
            sender = threading.Thread(target=lambda: client.send(commands))
            sender.start()
            self.assertEqual(client.rest().decode(), "".join(f"OK\nVALUE {i}\n" for i in range(count)) + "OK\n")
            sender.join()

    def test_puts_together_what_comes_in_pieces(self):
        commands, answers = b"SET a 0 one two\nGET a\nDEL a\nGET a\n", "OK\nVALUE one two\nINT 1\nNONE\n"
        chance = random.Random(1)
        with Program("11_key_value", "--port", 0) as server:
            for _ in range(30):
                with Client(server.port) as client:
                    rest = commands
                    while rest:
                        n = chance.randint(1, 10)
                        client.send(rest[:n])
                        rest = rest[n:]
                        time.sleep(0.0005)
                    client.end_writing()
                    self.assertEqual(client.rest().decode(), answers)

    def test_counts_what_many_count_at_once(self):
        with Program("11_key_value", "--port", 0) as server:
            clients = [Client(server.port) for _ in range(50)]
            for client in clients:
                client.send("INCR n\n" * 100)
            seen = sorted(int(client.line()[4:]) for client in clients for _ in range(100))
            self.assertEqual(seen, list(range(1, 5001)))
            for client in clients:
                client.socket.close()
            self.assertIn("stopped: 5000 commands, 1 keys", server.stop())

    def test_survives_bad_clients(self):
        with Program("11_key_value", "--port", 0, "--silence-ms", 1000) as server:
            example.abuse(server.port, "SET a 0 b\nGET a\n")
            with Client(server.port) as client:
                client.send("SET a 0 " + "x" * 200_000)
                self.assertEqual(client.rest(), b"ERROR a line has 65536 bytes at most\n")
            with Client(server.port) as client:
                client.send("SET half 0 of a com")
                client.end_writing()
                self.assertTrue(client.ends())
            with Client(server.port) as client:
                self.assertEqual(self.ask(client, "GET half"), "NONE")
            with Client(server.port) as silent:
                self.assertTrue(silent.ends())


if __name__ == "__main__":
    example.main()

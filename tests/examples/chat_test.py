"""The chat of the examples, as its members see it: lines over TCP, and WebSockets."""

import asyncio
import base64
import os
import unittest
import urllib.request

import example
from example import Client, Program

try:
    import websockets
except ImportError:
    websockets = None


def join(port, name):
    client = Client(port)
    assert client.line() == "who are you?"
    client.send(name + "\n")
    while client.line() != f"{name} came":
        pass
    return client


class Chat(unittest.TestCase):
    def setUp(self):
        self.start()

    def start(self, *arguments):
        self.server = Program("09_chat", "--port", 0, "--web", 0, *arguments)
        self.addCleanup(self.server.__exit__, None)
        self.lines, self.web = self.server.ports

    def test_everybody_hears_everybody(self):
        members = [join(self.lines, f"m{i}") for i in range(20)]
        for member in members:
            while not member.line().endswith("m19 came") if member is not members[-1] else False:
                pass
        for i, member in enumerate(members):
            member.send(f"I am {i}\n")
        for member in members:
            self.assertEqual(sorted(member.line() for _ in members), sorted(f"m{i}: I am {i}" for i in range(20)))
        members[0].socket.close()
        self.assertEqual(members[1].line(), "m0 went")
        for member in members[1:]:
            member.socket.close()

    def test_closes_in_order(self):
        one, two = join(self.lines, "one"), join(self.lines, "two")
        said = self.server.stop()
        for member in (one, two):
            self.assertTrue(member.rest().endswith(b"the room is closed\n"))
        self.assertIn("stopped: 2 members came, ", said)
        self.assertNotIn("weft:", said)
        one.socket.close()
        two.socket.close()

    def test_tells_the_slow_what_they_missed(self):
        slow, quick = join(self.lines, "slow"), join(self.lines, "quick")
        line = "x" * 900 + "\n"
        lagged = False
        for _ in range(100):
            quick.send(line * 100)
            for _ in range(100):
                quick.line()
        while not lagged:
            lagged = slow.line().startswith("(you missed ")
        slow.socket.close()
        quick.socket.close()

    def test_survives_bad_clients(self):
        one = join(self.lines, "one")
        example.abuse(self.lines, "somebody\nhello\n", 5)
        example.abuse(self.web, "GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", 5)
        with Client(self.lines) as client:
            client.send("\n")
            self.assertEqual(client.rest(), b"who are you?\nthat is no name\n")
        one.send("still here\n")
        while one.line() != "one: still here":
            pass
        one.socket.close()

    def test_has_a_page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/", timeout=example.PATIENCE) as page:
            self.assertIn("new WebSocket", page.read().decode())
        with Client(self.web) as client:
            client.send("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = client.rest()
            self.assertTrue(said.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"), said)
            self.assertIn(b"Upgrade: websocket\r\n", said)

    @unittest.skipUnless(websockets, "python3-websockets is not installed")
    def test_browsers_and_lines_share_the_room(self):
        async def talk():
            async with websockets.connect(f"ws://127.0.0.1:{self.web}/chat") as browser:
                hear = lambda: asyncio.wait_for(browser.recv(), example.PATIENCE)
                self.assertEqual(await hear(), "who are you?")
                await browser.send("browser")
                self.assertEqual(await hear(), "browser came")
                one = await asyncio.to_thread(join, self.lines, "one")
                self.assertEqual(await hear(), "one came")
                one.send("hello, browser\n")
                self.assertEqual(await hear(), "one: hello, browser")
                await browser.send("a\u00e9")
                self.assertEqual(await hear(), "browser: a\u00e9")
                self.assertEqual(one.line(), "one: hello, browser")
                self.assertEqual(one.line(), "browser: a\u00e9")
                await (await browser.ping())  # a pong comes between the frames
                await asyncio.to_thread(self.server.stop)
                self.assertEqual(await hear(), "the room is closed")
                with self.assertRaises(websockets.ConnectionClosed):
                    await hear()
                self.assertEqual(browser.close_code, 1001)
                one.socket.close()

        asyncio.run(talk())

    @unittest.skipUnless(websockets, "python3-websockets is not installed")
    def test_many_frames_of_both_sides_do_not_mix(self):
        async def talk():
            browsers = [await websockets.connect(f"ws://127.0.0.1:{self.web}/chat") for _ in range(4)]
            for i, browser in enumerate(browsers):  # one after the other: who came before us we do not hear of
                await browser.send(f"b{i}")
                for there in browsers[:i + 1]:
                    while await asyncio.wait_for(there.recv(), example.PATIENCE) != f"b{i} came":
                        pass

            async def say(browser):
                for k in range(50):
                    await browser.send(f"{k} " + "y" * 800)
                    if k % 10 == 0:
                        await (await browser.ping())

            async def hear(browser):
                seen = 0
                while seen < 200:
                    line = await browser.recv()
                    if line.startswith("(you missed "):
                        seen += int(line.split()[2])
                    else:
                        self.assertRegex(line, r"^b\d: \d+ y{800}$")
                        seen += 1

            both = [f(browser) for browser in browsers for f in (say, hear)]
            await asyncio.wait_for(asyncio.gather(*both), example.PATIENCE)
            for browser in browsers:
                await browser.close()

        asyncio.run(talk())

    def test_hangs_up_on_the_silent(self):
        self.start("--silence-ms", 500)
        with Client(self.lines) as silent:
            self.assertEqual(silent.rest(), b"who are you?\nthat is no name\n")

    def test_pings_who_is_silent_and_hangs_up_on_who_does_not_answer(self):
        self.start("--silence-ms", 500)
        key = base64.b64encode(os.urandom(16)).decode()
        with Client(self.web) as client:
            client.send("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
            self.assertIn("101 Switching Protocols", client.receive_to("\r\n\r\n"))
            said = client.rest()
            self.assertIn(b"\x89\x00", said)


if __name__ == "__main__":
    example.main()

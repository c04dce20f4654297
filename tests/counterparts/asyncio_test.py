"""Python's asyncio streams on the other side, as clients and as servers, with TLS and without."""

import asyncio
import ssl
import threading
import unittest

import support
from support import identity, needs, paper


class Clients(support.Case):
    CONNECTIONS = 40
    LINES = 50

    def ask(self, server, tls=None, name=None):
        async def one(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls, server_hostname=name)
            for i in range(self.LINES):
                line = f"connection {number} line {i} {'x' * (i * 37 % 2000)}\n".encode()
                writer.write(line)
                await writer.drain()
                self.assertEqual(await reader.readline(), line)
            many = b"".join(b"%d\n" % i for i in range(2000))
            writer.write(many)
            self.assertEqual(await reader.readexactly(len(many)), many)
            if tls is None:
                writer.write_eof()
                self.assertEqual(await reader.read(), b"")
            writer.close()
            await writer.wait_closed()

        async def all_of_them():
            await asyncio.wait_for(asyncio.gather(*map(one, range(self.CONNECTIONS))), support.LIMIT)

        asyncio.run(all_of_them())

    def test_get_their_lines_back(self):
        for loops in (1, 2):
            self.ask(self.serve("lines", loops))

    @needs("openssl")
    def test_get_their_lines_back_over_tls(self):
        for loops in (1, 2):
            tls = ssl.create_default_context(cafile=paper("authority.pem"))
            self.ask(self.serve("lines", loops, **identity()), tls, "localhost")


class Servers(support.Case):
    def asyncio_server(self, tls=None):
        """The port of an echo server, in a thread of its own."""
        started = threading.Event()
        found = []

        async def echo(reader, writer):
            while piece := await reader.read(1000):
                writer.write(piece)
                await writer.drain()
            writer.close()

        async def serve():
            server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=tls)
            stop = asyncio.Event()
            found.extend((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
            started.set()
            async with server:
                await stop.wait()

        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        self.assertTrue(started.wait(support.LIMIT))
        port, loop, stop = found
        self.addCleanup(thread.join, support.LIMIT)
        self.addCleanup(loop.call_soon_threadsafe, stop.set)
        return port

    def test_are_asked_by_a_weft_client(self):
        port = self.asyncio_server()
        for loops in (1, 2):
            self.assertEqual(self.client(port, "lines", loops=loops, connections=40, requests=100), ["plain"])

    @needs("openssl")
    def test_are_asked_over_tls(self):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(paper("server.pem"), paper("server.key"))
        tls.set_alpn_protocols(["lines"])
        port = self.asyncio_server(tls)
        for loops in (1, 2):
            lines = self.client(port, "lines", loops=loops, connections=20, requests=50, rounds=2, alpn="lines",
                                authorities=paper("authority.pem"), name="localhost")  # fmt: skip
            self.assertEqual([line.rsplit(" ", 1)[0] for line in lines], ["TLSv1.3 alpn=lines peer=CN=server"] * 2)


if __name__ == "__main__":
    unittest.main()

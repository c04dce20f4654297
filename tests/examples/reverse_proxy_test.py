"""The reverse proxy of the examples, as its clients and servers see it."""

import asyncio
import http.client
import http.server
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import example
from example import Client, Program

try:
    import websockets
except ImportError:
    websockets = None


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says who it is and what it was asked; keeps its connections."""

    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        if self.path == "/health":
            return self.answer(b"", 200 if self.server.healthy else 503)
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "X-Private")
            self.send_header("X-Private", "of this connection")
            self.end_headers()
            for piece in (b"one", b"two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.server.go_on.wait(example.PATIENCE)
            return self.wfile.write(b"0\r\n\r\n")
        if self.path == "/slow":
            self.server.go_on.wait(example.PATIENCE)
        if self.path == "/reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            return self.connection.close()
        if self.path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return None
        return self.answer(self.server.name.encode())

    do_HEAD = do_GET

    def do_POST(self):
        """Sends back what it gets, as it gets it."""
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        if self.path == "/reset":
            self.close_connection = True
            return
        if self.path == "/no":
            self.close_connection = True
            return self.answer(b"not here", 403)
        length = int(self.headers["Content-Length"])
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        while length:
            piece = self.rfile.read1(min(length, 65536))
            length -= len(piece)
            self.wfile.write(piece)

    def log_message(self, *_):
        pass


class ReverseProxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.certificate, cls.key = (os.path.join(cls.folder.name, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", cls.key, "-out", cls.certificate],
                       check=True, capture_output=True)
        cls.tls = ssl.create_default_context(cafile=cls.certificate)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.servers = [self.upstream(f"server {i}") for i in range(2)]
        self.proxies = []

    def upstream(self, name):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # clients go away here
        server.name, server.healthy, server.asked, server.go_on = name, True, [], threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def start(self, *arguments, tls=True, servers=None):
        addresses = ",".join(f"127.0.0.1:{server if isinstance(server, int) else server.server_port}"
                             for server in servers or self.servers)
        tls_arguments = ("--certificates", self.certificate, "--key", self.key) if tls else ()
        proxy = Program("13_reverse_proxy", "--port", 0, "--upstreams", addresses, "--health", "/health", "--health-ms",
                        50, *tls_arguments, *arguments)
        self.addCleanup(proxy.__exit__, None)
        return proxy

    def connect(self, proxy):
        connection = http.client.HTTPSConnection("localhost", proxy.port, timeout=example.PATIENCE, context=self.tls)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, target, method="GET", body=None, headers=None):
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def asked(self, path):
        return [asked for server in self.servers for asked in server.asked if asked[1] == path]

    def test_takes_https_and_spreads_requests(self):
        proxy = self.start()
        connection = self.connect(proxy)
        said = {self.ask(connection, f"/{i}")[1] for i in range(20)}
        self.assertEqual(said, {b"server 0", b"server 1"})
        self.assertEqual(self.ask(connection, "/x", "HEAD"), (200, b""))
        self.assertIn("stopped: 21 requests answered on 1 connections, 0 refused, 0 cut off", proxy.stop())

    def test_says_who_asked_and_hides_what_is_of_one_connection(self):
        connection = self.connect(self.start())
        self.ask(connection, "/x?y=%20", headers={"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "gopher",
                                                 "Connection": "keep-alive, X-Mine", "X-Mine": "1", "X-Yours": "2"})
        (_, _, fields), = self.asked("/x?y=%20")
        self.assertEqual(fields["X-Forwarded-For"], "10.0.0.1, 127.0.0.1")
        self.assertEqual(fields["X-Forwarded-Proto"], "https")
        self.assertEqual(fields["X-Yours"], "2")
        self.assertNotIn("X-Mine", fields)
        self.assertTrue(fields["Host"].startswith("localhost"))
        for server in self.servers:
            server.go_on.set()
        connection.request("GET", "/chunks")
        answer = connection.getresponse()
        self.assertIsNone(answer.getheader("X-Private"))
        self.assertEqual(answer.read(), b"onetwo")

    def test_keeps_all_that_was_said_of_where_a_request_came_through(self):
        proxy = self.start(tls=False)
        with Client(proxy.port) as client:
            client.send("GET /x HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n"
                        "Connection: close\r\n\r\n")
            client.rest()
        (_, _, fields), = self.asked("/x")
        self.assertEqual(fields["X-Forwarded-For"], "10.0.0.1, 10.0.0.2, 127.0.0.1")

    def test_streams_answers_as_they_come(self):
        connection = self.connect(self.start())
        connection.request("GET", "/chunks")
        answer = connection.getresponse()
        self.assertEqual(answer.read(3), b"one")  # the server is waiting
        for server in self.servers:
            server.go_on.set()
        self.assertEqual(answer.read(), b"two")

    def test_streams_bodies_both_ways_at_once(self):
        data = bytes(i * i % 251 for i in range(500_000)) * 40
        proxy = self.start()
        raw = socket.create_connection(("127.0.0.1", proxy.port), example.PATIENCE)
        with self.tls.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(f"POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
                           .encode())
            # TLS in Python is not for two threads at once: a piece there, and what is there back.
            client.setblocking(False)
            sent, got = 0, []
            until = time.monotonic() + example.PATIENCE
            while time.monotonic() < until:
                try:
                    if sent < len(data):
                        sent += client.send(data[sent:sent + 16384])
                except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    pass
                try:
                    piece = client.recv(65536)
                    if not piece:
                        break
                    got.append(piece)
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            head, _, body = b"".join(got).partition(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertTrue(body == data, (len(body), sent))
        self.assertLess(proxy.resident(), 500_000_000)

    def test_leaves_out_who_is_not_well(self):
        connection = self.connect(self.start())
        self.servers[0].healthy = False
        self.assertTrue(example.eventually(
            lambda: {self.ask(connection, "/x")[1] for _ in range(4)} == {b"server 1"}))
        self.servers[1].healthy = False
        self.assertTrue(example.eventually(lambda: self.ask(connection, "/x")[0] == 503))
        self.servers[0].healthy = True
        self.assertTrue(example.eventually(lambda: self.ask(connection, "/x") == (200, b"server 0")))

    def test_tries_another_server_where_it_may(self):
        dead = self.upstream("dead")
        dead.shutdown()
        dead.server_close()
        proxy = self.start("--health-ms", 100_000, servers=[dead, *self.servers])
        connection = self.connect(proxy)
        for i in range(10):
            self.assertEqual(self.ask(connection, "/x")[0], 200)
        self.assertEqual(self.ask(connection, "/reset")[0], 503)
        for server in self.servers:  # once, and once more when its kept connection may have been closed before
            self.assertIn(sum(asked[1] == "/reset" for asked in server.asked), (1, 2))

    def test_sends_any_request_to_another_server_when_one_is_not_there(self):
        dead = self.upstream("dead")
        dead.shutdown()
        dead.server_close()
        for _ in range(3):  # whoever is asked first
            connection = self.connect(self.start("--health", "/x", "--health-ms", 100_000, servers=[dead, self.servers[0]]))
            self.assertEqual(self.ask(connection, "/echo", "POST", b"body"), (200, b"body"))

    def test_a_request_that_a_server_dies_of_takes_no_server_from_others(self):
        connection = self.connect(self.start("--health-ms", 100_000))
        self.assertEqual(self.ask(connection, "/reset")[0], 503)
        self.assertEqual(self.ask(connection, "/x")[0], 200)

    def test_asks_in_the_name_of_who_names_no_host(self):
        proxy = self.start(tls=False, servers=self.servers[:1])
        with Client(proxy.port) as client:
            client.send("GET /x HTTP/1.0\r\n\r\n")
            self.assertTrue(client.rest().endswith(b"server 0"))
        (_, _, fields), = self.asked("/x")
        self.assertEqual(fields["Host"], f"127.0.0.1:{self.servers[0].server_port}")

    def test_does_not_repeat_what_must_be_done_once(self):
        proxy = self.start("--health-ms", 100_000)
        connection = self.connect(proxy)
        self.assertEqual(self.ask(connection, "/reset", "POST", b"body")[0], 502)
        self.assertEqual(len(self.asked("/reset")), 1)

    def test_passes_on_a_refusal_that_comes_before_the_body_has_gone(self):
        connection = self.connect(self.start())
        self.assertEqual(self.ask(connection, "/no", "POST", b"short"), (403, b"not here"))

    def test_cuts_off_what_the_server_cut_off(self):
        connection = self.connect(self.start())
        connection.request("GET", "/half")
        answer = connection.getresponse()
        with self.assertRaises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            answer.read()

    def test_gives_up_on_a_server_that_hangs(self):
        connection = self.connect(self.start("--answer-ms", 300))
        self.assertEqual(self.ask(connection, "/slow")[0], 504)
        self.assertEqual(self.ask(connection, "/x")[0], 200)

    @unittest.skipUnless(websockets, "python3-websockets is not installed")
    def test_is_a_tunnel_for_websockets(self):
        with Program("09_chat", "--port", 0, "--web", 0) as chat:
            proxy = self.start("--health", "/", "--grace-ms", 500, servers=[chat.ports[1]])

            async def enter(name):
                member = await websockets.connect(f"wss://localhost:{proxy.port}/chat", ssl=self.tls)
                self.assertEqual(await hear(member), "who are you?")
                await member.send(name)
                while await hear(member) != f"{name} came":
                    pass
                return member

            hear = lambda member: asyncio.wait_for(member.recv(), example.PATIENCE)

            async def talk():
                one, two = await enter("one"), await enter("two")
                self.assertEqual(await hear(one), "two came")
                said = "x" * 900
                for i in range(100):
                    await one.send(f"{i} {said}")
                    for member in (one, two):
                        self.assertEqual(await hear(member), f"one: {i} {said}")
                await (await one.ping())
                await one.close()
                while await hear(two) != "one went":
                    pass
                self.assertIn("1 cut off", await asyncio.to_thread(proxy.stop))  # it would have gone on for ever
                with self.assertRaises(websockets.ConnectionClosed):
                    await hear(two)

            asyncio.run(talk())

    @unittest.skipUnless(websockets, "python3-websockets is not installed")
    def test_bears_a_silent_websocket_for_longer_than_a_silent_client(self):
        for limit, survives in ((100_000, True), (300, False)):
            with Program("09_chat", "--port", 0, "--web", 0) as chat:
                proxy = self.start("--health", "/", "--silence-ms", 300, "--websocket-ms", limit, "--grace-ms", 100,
                                   tls=False, servers=[chat.ports[1]])

                async def listen():
                    member = await websockets.connect(f"ws://localhost:{proxy.port}/chat", ping_interval=None,
                                                      close_timeout=0.1)
                    await asyncio.wait_for(member.recv(), example.PATIENCE)
                    if survives:
                        with Client(proxy.port) as silent:  # who waits as long is hung up on
                            self.assertTrue(await asyncio.to_thread(silent.ends))
                        await member.send("x")
                        self.assertEqual(await asyncio.wait_for(member.recv(), example.PATIENCE), "x came")
                    else:
                        with self.assertRaises(websockets.ConnectionClosed):
                            await asyncio.wait_for(member.recv(), example.PATIENCE)

                asyncio.run(listen())
                proxy.stop()

    def test_says_what_is_wrong_with_its_arguments(self):
        for wrong, why in ((("--key", self.key), "--certificates and --key need each other"),
                           (("--upstreams", ""), "--upstreams names no server"),
                           (("--upstreams", "here"), '"here" is no endpoint'),
                           (("--certificates", "/nothing", "--key", self.key), "read /nothing: No such file or directory")):
            self.assertIn(f"13_reverse_proxy: {why}", example.complaint("13_reverse_proxy", "--port", 0, *wrong))

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_talks_to_curl_and_openssl(self):
        proxy = self.start()
        said = subprocess.run(["curl", "-sS", "--fail", "--noproxy", "*", "--cacert", self.certificate, "--data-binary", "@-",
                               f"https://localhost:{proxy.port}/echo"], input=b"z" * 300_000, capture_output=True,
                              timeout=example.PATIENCE)
        self.assertEqual((said.stdout, said.stderr), (b"z" * 300_000, b""))
        said = subprocess.run(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{proxy.port}", "-alpn", "http/1.1",
                               "-servername", "localhost", "-CAfile", self.certificate, "-verify_return_error"],
                              input=b"GET /x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", capture_output=True,
                              timeout=example.PATIENCE)
        self.assertTrue(said.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), said)

    def test_survives_bad_clients(self):
        proxy = self.start("--silence-ms", 1000)
        example.abuse(proxy.port, "GET / HTTP/1.1\r\nHost: here\r\n\r\n", 5)
        plain = self.start("--silence-ms", 1000, tls=False)
        example.abuse(plain.port, "POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n", 5)
        self.assertEqual(self.ask(self.connect(proxy), "/x")[0], 200)
        with Client(plain.port) as client:
            client.send("GET /x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            self.assertTrue(client.rest().startswith(b"HTTP/1.1 200 "))

    def test_answers_what_is_in_flight_and_ends(self):
        proxy = self.start()
        connection = self.connect(proxy)
        connection.request("GET", "/slow")
        self.assertTrue(example.eventually(lambda: self.asked("/slow")))
        example.tell(proxy.process, signal.SIGTERM)
        self.assertTrue(example.eventually(lambda: socket.socket().connect_ex(("127.0.0.1", proxy.port)) != 0))
        for server in self.servers:
            server.go_on.set()
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Connection")), (200, "close"))
        answer.read()
        self.assertIn("stopped: 1 requests answered on ", proxy.ended())


if __name__ == "__main__":
    example.main()

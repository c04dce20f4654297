"""curl and nc as clients of a weft HTTP server."""

import os
import unittest

import support
from support import identity, needs, paper

LOOPS = (1, 2)


class Curl(support.Case):
    @needs("curl")
    def test_keeps_a_connection_for_many_requests(self):
        for loops in LOOPS:
            server = self.serve("http", loops)
            at = f"http://{server.address}"
            out = self.run_command("curl", "-sv", "--stderr", "-", *[f"{at}/{i}" for i in range(20)])
            self.assertEqual(out.count("hello\n"), 20)
            self.assertEqual(out.count("Re-using existing connection"), 19)

    @needs("curl")
    def test_gets_a_megabyte_from_several_connections(self):
        for loops in LOOPS:
            server = self.serve("http", loops)
            names = [os.path.join(self.folder, str(i)) for i in range(8)]
            wanted = [part for name in names for part in ("-o", name, f"http://{server.address}/large")]
            self.run_command("curl", "-s", "--parallel", "--parallel-immediate", *wanted)
            self.assertEqual({os.path.getsize(name) for name in names}, {1024 * 1024})

    @needs("curl")
    def test_posts_a_body_and_gets_it_back(self):
        server = self.serve("http", 1)
        body = os.path.join(self.folder, "body")
        with open(body, "wb") as f:
            f.write(os.urandom(300_000))
        back = os.path.join(self.folder, "back")
        self.run_command("curl", "-s", "-H", "Expect:", "--data-binary", f"@{body}", "-o", back,
                         f"http://{server.address}/")  # fmt: skip
        with open(body, "rb") as sent, open(back, "rb") as got:
            self.assertEqual(sent.read(), got.read())

    @needs("curl", "openssl")
    def test_verifies_a_tls_server(self):
        for loops in LOOPS:
            server = self.serve("http", loops, **identity(), alpn="http/1.1")
            at = f"https://localhost:{server.port}/facts"
            out = self.run_command("curl", "-s", "--cacert", paper("authority.pem"), at, at)
            self.assertEqual(out, "TLSv1.3 alpn=http/1.1 name=localhost client= resumed=no\n" * 2)
            no_trust = 60
            self.run_command("curl", "-s", "--cacert", paper("other.pem"), at, code=no_trust)

    @needs("curl", "openssl")
    def test_shows_a_certificate(self):
        server = self.serve("http", 1, **identity(), client_authorities=paper("authority.pem"))
        at = f"https://localhost:{server.port}/facts"
        curl = ["curl", "-s", "--tls-max", "1.2", "--cacert", paper("authority.pem")]
        mine = ["--cert", paper("client.pem"), "--key", paper("client.key")]
        self.assertIn("TLSv1.2 alpn= name=localhost client=CN=client", self.run_command(*curl, *mine, at))
        handshake_failed = 35
        self.run_command(*curl, at, code=handshake_failed)


class Netcat(support.Case):
    @needs("nc")
    def test_pipelines_requests(self):
        for loops in LOOPS:
            server = self.serve("http", loops)
            count = 500
            requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
            out = self.run_command("nc", "-N", "127.0.0.1", server.port, input=requests)
            self.assertEqual(out.count("HTTP/1.1 200 OK\r\n"), count + 1)
            self.assertEqual(out.count("hello\n"), count + 1)

    @needs("nc")
    def test_half_closes(self):
        server = self.serve("echo", 1)
        text = os.urandom(200_000).hex().encode()
        self.assertEqual(self.run_command("nc", "-N", "127.0.0.1", server.port, input=text), text.decode())

    @needs("nc")
    def test_talks_to_a_server_behind_a_proxy(self):
        for loops in LOOPS:
            behind = self.serve("echo", loops)
            proxy = self.serve("proxy", loops, upstream=behind.address)
            text = os.urandom(200_000).hex().encode()
            self.assertEqual(self.run_command("nc", "-N", "127.0.0.1", proxy.port, input=text), text.decode())


if __name__ == "__main__":
    unittest.main()

"""openssl's s_client against a weft server, and its s_server against a weft client."""

import subprocess
import unittest

import support
from support import free_port, identity, needs, paper, wait_for_port


@needs("openssl")
class Client(support.Case):
    def s_client(self, server, *options, text="facts\n", code=0):
        command = ["openssl", "s_client", "-connect", server.address, "-CAfile", paper("authority.pem"), *options]
        with self.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            out = ""
            try:
                process.stdin.write(text.encode())
                process.stdin.flush()
                while "resumed=" not in out:
                    line = process.stdout.readline().decode()
                    if not line:
                        break
                    out += line
                process.stdin.write(b"Q\n")
                rest, _ = process.communicate(timeout=support.LIMIT)
            except BrokenPipeError:
                rest, _ = process.communicate(timeout=support.LIMIT)
            out += rest.decode()
        self.assertEqual(process.returncode, code, out)
        return out

    def test_asks_for_a_name_and_a_protocol(self):
        for loops in (1, 2):
            server = self.serve("lines", loops, **identity(), alpn="lines")
            out = self.s_client(server, "-servername", "localhost", "-alpn", "lines", "-verify_return_error")
            self.assertIn("TLSv1.3 alpn=lines name=localhost client= resumed=no", out)
            self.assertIn("Verify return code: 0 (ok)", out)
            self.assertIn("no application protocol", self.s_client(server, "-alpn", "h2", code=1))

    def test_resumes_a_session(self):
        for loops in (1, 2):
            for version in ("-tls1_2", "-tls1_3"):
                server = self.serve("lines", loops, **identity())
                session = f"{self.folder}/session{loops}{version}"
                self.assertIn("resumed=no", self.s_client(server, version, "-sess_out", session))
                self.assertIn("resumed=yes", self.s_client(server, version, "-sess_in", session))

    def test_does_not_trust_another(self):
        server = self.serve("lines", 1, **identity())
        command = ["openssl", "s_client", "-connect", server.address, "-CAfile", paper("other.pem"),
                   "-verify_return_error"]  # fmt: skip
        out = self.run_command(*command, code=1, stdin=subprocess.DEVNULL)
        self.assertNotIn("Verify return code: 0", out)

    def test_must_show_a_certificate(self):
        server = self.serve("lines", 1, **identity(), client_authorities=paper("authority.pem"))
        mine = ["-cert", paper("client.pem"), "-key", paper("client.key")]
        self.assertIn("client=CN=client", self.s_client(server, *mine))
        self.assertIn("certificate required", self.s_client(server, code=1))


@needs("openssl")
class Server(support.Case):
    def s_server(self, *options):
        port = free_port()
        # "-rev" reverses lines, one connection after the other.
        self.start("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", paper("server.pem"), "-key",
                   paper("server.key"), "-rev", "-quiet", *options, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        wait_for_port(port)
        return port

    def ask(self, port, code=0, authority="authority", name="localhost", **options):
        return self.client(port, "reversed", code, authorities=paper(f"{authority}.pem"), name=name, **options)

    def test_is_asked_and_resumes_sessions(self):
        for version in ("2", "3"):
            port = self.s_server(f"-tls1_{version}", "-alpn", "lines")
            for loops in (1, 2):
                lines = self.ask(port, loops=loops, alpn="lines", rounds=3)
                self.assertEqual(lines, [f"TLSv1.{version} alpn=lines peer=CN=server resumed={resumed}"
                                         for resumed in ("no", "yes", "yes")])  # fmt: skip

    def test_sees_the_name_that_was_asked_for(self):
        port = self.s_server("-servername", "localhost", "-servername_fatal", "-cert2", paper("server.pem"), "-key2",
                             paper("server.key"))  # fmt: skip
        self.ask(port)

    def test_shows_a_certificate_that_is_not_to_be_trusted(self):
        port = self.s_server()
        self.assertIn("certificate", self.ask(port, 1, authority="other")[0])
        self.assertIn("hostname mismatch", self.ask(port, 1, name="example.org")[0].lower())
        self.ask(port)

    def test_wants_a_certificate(self):
        port = self.s_server("-Verify", "1", "-CAfile", paper("authority.pem"), "-verify_return_error")
        self.ask(port, certificates=paper("client.pem"), key=paper("client.key"))
        self.assertIn("certificate required", self.ask(port, 1)[0])


if __name__ == "__main__":
    unittest.main()

"""The server of static files of the examples, as its clients see it."""

import email.utils
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import example
from example import Client, Program


def ask(port, target, *fields, method="GET"):
    """Status, fields and body."""
    with Client(port) as client:
        client.send(f"{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
                    + "".join(field + "\r\n" for field in fields) + "\r\n")
        head, _, body = client.rest().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


class StaticFiles(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = os.path.join(self.folder.name, "root")
        os.mkdir(self.root)
        self.large = bytes(i * i % 251 for i in range(3_000_000))
        for name, data in (("../secret.txt", b"secret"), ("a b.txt", b"0123456789"), ("large.bin", self.large),
                           ("style.CSS", b"x"), ("empty", b""), ("<&>.html", b"odd")):
            with open(os.path.join(self.root, name), "wb") as file:
                file.write(data)
        os.mkdir(os.path.join(self.root, "page"))
        with open(os.path.join(self.root, "page", "index.html"), "w") as file:
            file.write("the index")
        os.mkdir(os.path.join(self.root, "list"))
        os.symlink("../../secret.txt", os.path.join(self.root, "out"))
        os.symlink("a b.txt", os.path.join(self.root, "inside"))
        os.mkfifo(os.path.join(self.root, "pipe"))
        os.mkdir(os.path.join(self.root, ".git"))
        os.mkdir(os.path.join(self.root, "list", ".hidden"))
        for name in (".env", ".git/config", "list/.env", "list/.hidden/index.html", "...", "visible.d"):
            with open(os.path.join(self.root, name), "w") as file:
                file.write("secret" if name != "visible.d" else "seen")
        for name, to in (("absolute", os.path.join(self.root, "a b.txt")), ("up", ".."), ("loop", "loop")):
            os.symlink(to, os.path.join(self.root, name))

    def start(self, *arguments):
        server = Program("12_static_files", "--port", 0, "--root", self.root, *arguments)
        self.addCleanup(server.__exit__, None)
        return server

    def test_sends_files_with_their_types(self):
        port = self.start().port
        for target, kind, body in (("/a%20b.txt", "text/plain; charset=utf-8", b"0123456789"),
                                   ("/style.CSS", "text/css; charset=utf-8", b"x"),
                                   ("/empty", "application/octet-stream", b""),
                                   ("/inside", "application/octet-stream", b"0123456789"),
                                   ("/large.bin?query", "application/octet-stream", self.large),
                                   ("/page/", "text/html; charset=utf-8", b"the index")):
            status, fields, got = ask(port, target)
            self.assertEqual((status, fields["Content-Type"], got == body), (200, kind, True), target)
            self.assertEqual(fields["Content-Length"], str(len(body)))
            status, head, got = ask(port, target, method="HEAD")
            self.assertEqual((status, head["Content-Length"], got), (200, str(len(body)), b""), target)

    def test_lists_folders(self):
        port = self.start().port
        status, _, page = ask(port, "/")
        self.assertEqual(status, 200)
        self.assertIn(b'<a href="./%3C%26%3E.html">&#60;&#38;&#62;.html</a>', page)
        self.assertIn(b'<a href="./a%20b.txt">a b.txt</a>', page)
        self.assertIn(b'<a href="./list/">list/</a>', page)
        status, fields, _ = ask(port, "/list")
        self.assertEqual((status, fields["Location"]), (301, "/list/"))

    def test_lets_nobody_out(self):
        port = self.start().port
        for target in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/page/../../secret.txt", "/out",
                       "/./a%20b.txt", "/%00", "/page/index.html/", "//etc/passwd", "/%2fetc/passwd", "/nothing",
                       "/page/nothing", "/pipe", "/up/", "/up/secret.txt", "/absolute", "/loop",
                       "/" + "x" * 300, "/proc/self/root/etc/passwd", "/a%20b.txt/x"):
            status, _, body = ask(port, target)
            self.assertEqual(status, 400 if target == "/%00" else 404, target)
            self.assertNotIn(b"secret", body, target)
        self.assertEqual(ask(port, "/a%20b.txt", method="POST")[0], 405)

    def test_hides_what_begins_with_a_dot(self):
        port = self.start().port
        for target in ("/.env", "/%2eenv", "/%2Eenv", "/.git/config", "/%2egit/config", "/.git/", "/.git", "/.%67it/config",
                       "/list/.env", "/list/%2eenv", "/list/.hidden/", "/list/.hidden/index.html", "/list/.hidden", "/...",
                       "/%2e%2e%2e", "/.nothing", "/page/../.env", "http://here/.env", "/.env?x", "/.well-known/x"):
            for method in ("GET", "HEAD"):
                status, _, body = ask(port, target, method=method)
                self.assertEqual(status, 404, target)
                self.assertNotIn(b"secret", body, target)
        self.assertEqual(ask(port, "/visible.d")[2], b"seen")
        for folder in ("/", "/list/"):
            self.assertNotIn(b"/.", ask(port, folder)[2])

    def test_takes_no_other_spelling_for_a_name(self):
        port = self.start().port
        for target in ("/list//", "//list/", "/page//index.html", "//page/index.html", "/page/%2findex.html",
                       "//evil.example", "/a%20b.txt/", "/page/index.html/"):
            self.assertEqual(ask(port, target)[0], 404, target)

    def test_redirects_into_itself_only(self):
        port = self.start().port
        for target in ("/list", "http://evil.example/list", "/list?x=//evil.example"):
            status, fields, _ = ask(port, target)
            self.assertEqual((status, fields["Location"]), (301, "/list/"), target)

    @unittest.skipUnless(os.geteuid(), "root may read it all the same")
    def test_shows_no_list_where_the_index_is_not_to_be_read(self):
        os.chmod(os.path.join(self.root, "page", "index.html"), 0)
        self.assertEqual(ask(self.start().port, "/page/")[0], 403)

    def test_calls_nothing_gone_for_want_of_descriptors(self):
        server = self.start()
        self.assertEqual(ask(server.port, "/visible.d")[0], 200)
        with Client(server.port) as client:
            client.send("GET /visible.d HTTP/1.1\r\nHost: here\r\n\r\n")
            client.receive_to("seen")
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, 1024))
            client.send("GET /visible.d HTTP/1.1\r\nHost: here\r\n\r\n")
            self.assertIn("HTTP/1.1 500 ", client.receive_to("\r\n"))
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        self.assertEqual(ask(server.port, "/visible.d")[0], 200)

    def test_sends_ranges(self):
        port = self.start().port
        for wanted, status, content_range, body in (
            ("bytes=0-0", 206, "bytes 0-0/10", b"0"),
            ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
            ("bytes=7-", 206, "bytes 7-9/10", b"789"),
            ("bytes=7-99", 206, "bytes 7-9/10", b"789"),
            ("bytes=-3", 206, "bytes 7-9/10", b"789"),
            ("bytes=-99", 206, "bytes 0-9/10", b"0123456789"),
            ("bytes=10-", 416, "bytes */10", None),
            ("bytes=-0", 416, "bytes */10", None),
            ("bytes=4-2", 200, None, b"0123456789"),
            ("bytes=0-1,3-4", 200, None, b"0123456789"),
            ("bytes=x", 200, None, b"0123456789"),
            ("lines=1-2", 200, None, b"0123456789"),
            ("bytes=99999999999999999999-", 200, None, b"0123456789"),
        ):
            got = ask(port, "/a%20b.txt", "Range: " + wanted)
            self.assertEqual((got[0], got[1].get("Content-Range")), (status, content_range), wanted)
            if body is not None:
                self.assertEqual(got[2], body, wanted)
        self.assertEqual(ask(port, "/large.bin", "Range: bytes=1000001-2000000")[2], self.large[1000001:2000001])

    def test_keeps_conditions(self):
        port = self.start().port
        _, fields, _ = ask(port, "/a%20b.txt")
        tag, date = fields["ETag"], fields["Last-Modified"]
        later = email.utils.formatdate(time.time() + 100, usegmt=True)
        for field, status in ((f"If-None-Match: {tag}", 304), (f'If-None-Match: "x", W/{tag}', 304),
                              ("If-None-Match: *", 304), ('If-None-Match: "x"', 200), (f"If-Match: {tag}", 200),
                              ('If-Match: "x"', 412), (f"If-Match: W/{tag}", 412), (f"If-Modified-Since: {date}", 304),
                              (f"If-Modified-Since: {later}", 304), ("If-Modified-Since: yesterday", 200),
                              ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200),
                              ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 412),
                              (f"If-Unmodified-Since: {date}", 200)):
            got = ask(port, "/a%20b.txt", field)
            self.assertEqual(got[0], status, field)
            self.assertEqual(got[2], b"0123456789" if status == 200 else b"", field)
        for field, status in ((f"If-Range: {tag}", 206), ('If-Range: "x"', 200), (f"If-Range: {date}", 206)):
            self.assertEqual(ask(port, "/a%20b.txt", "Range: bytes=0-1", field)[0], status, field)
        with open(os.path.join(self.root, "a b.txt"), "wb") as file:
            file.write(b"other")
        status, changed, body = ask(port, "/a%20b.txt", f"If-None-Match: {tag}")
        self.assertEqual((status, body), (200, b"other"))
        self.assertNotEqual(changed["ETag"], tag)

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_resumes_a_download_of_curl(self):
        port = self.start().port
        part = os.path.join(self.folder.name, "part")
        with open(part, "wb") as file:
            file.write(self.large[:1_000_000])
        subprocess.run(["curl", "-sS", "--fail", "-C", "-", "-o", part, f"http://127.0.0.1:{port}/large.bin"], check=True,
                       timeout=example.PATIENCE)
        with open(part, "rb") as file:
            self.assertEqual(file.read(), self.large)

    def test_logs_and_survives_bad_clients(self):
        server = self.start("--log", 1, "--silence-ms", 1000)
        example.abuse(server.port, "GET /large.bin HTTP/1.1\r\nHost: here\r\n\r\n", 5)
        self.assertEqual(ask(server.port, "/large.bin")[2], self.large)
        said = server.stop()
        self.assertRegex(said, r'(?m)^127\.0\.0\.1 - - \[.*\] "GET /large.bin HTTP/1.1" 200 3000\d\d\d "-" "-" \d')
        self.assertIn(" 414 ", said)
        self.assertRegex(said, r"stopped: \d+ requests answered on \d+ connections\n")

    def test_survives_who_reads_its_log(self):
        server = subprocess.Popen([os.path.join(example.FOLDER, "12_static_files"), "--port", "0", "--root", self.root,
                                   "--log", "1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        port = int(server.stdout.readline().rpartition(":")[2])
        server.stdout.close()
        for _ in range(20):
            self.assertEqual(ask(port, "/visible.d")[0], 200)
            time.sleep(0.005)  # the log is written behind the answer

    def test_finishes_downloads_when_it_is_stopped(self):
        with open(os.path.join(self.root, "huge.bin"), "wb") as file:
            file.truncate(40_000_000)
        server = self.start()
        with Client(server.port) as idle, Client(server.port) as client:
            client.send("GET /huge.bin HTTP/1.1\r\nHost: here\r\n\r\n")
            head = client.receive_to("\r\n\r\n")
            self.assertIn("Content-Length: 40000000\r\n", head)
            example.tell(server.process, signal.SIGINT)
            self.assertTrue(idle.ends())
            got = []
            reader = threading.Thread(target=lambda: got.append(len(client.rest())))
            reader.start()
            self.assertIn("stopped: 1 requests answered on 2 connections", server.ended())
            reader.join()
            self.assertEqual(got, [40_000_000])


if __name__ == "__main__":
    example.main()

"""The image service as programs see it: what it takes and refuses, what it does under load, and when others fail."""

import http.server
import io
import os
import resource
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import postgres
from service import Service, eventually, patience

try:
    import pictures
    from PIL import Image
except ImportError:
    print("no python3-pil: nothing to send")
    sys.exit(77)


class Case(unittest.TestCase):
    def start(self, *options, **more):
        service = Service(*options, **more)
        self.addCleanup(service.kill)
        return service

    def stop(self, service, pictures=r"\d+", cut_off=0):
        self.assertRegex(service.stop(),
                         rf"^stopped: \d+ requests answered, {pictures} pictures made, {cut_off} uploads cut off\n$")

    def assert_decodes(self, service, record):
        for version in record["versions"]:
            answer = service.get(version["url"])
            self.assertEqual(answer.status, 200)
            self.assertEqual(len(answer.body), version["bytes"])
            image = Image.open(io.BytesIO(answer.body))
            self.assertEqual(image.size, (version["width"], version["height"]))
            image.load()


class Upload(Case):
    def test_all_versions_can_be_had(self):
        service = self.start()
        sent = pictures.jpeg(2000, 1000)
        answer = service.add(sent, "a/b\\\x01 h\u00e4\u00df.jpg")
        self.assertEqual(answer.status, 201, answer.body)
        record = answer.json()
        self.assertEqual((record["name"], record["width"], record["height"], record["bytes"], record["format"]),
                         (" h\u00e4\u00df.jpg", 2000, 1000, len(sent), "jpg"))
        self.assertEqual([(v["name"], v["width"], v["height"]) for v in record["versions"]],
                         [("large", 1600, 800), ("medium", 800, 400), ("thumb", 320, 160)])
        self.assert_decodes(service, record)
        self.assertEqual(service.get(record["original"]).body, sent)
        self.assertEqual(service.get("/pictures/" + record["id"]).json(), record)
        self.assertEqual(service.get("/pictures/nothing").status, 404)
        self.stop(service)

    def test_unusual_pictures_are_taken(self):
        service = self.start()
        for name, sent in pictures.unusual().items():
            with self.subTest(name):
                answer = service.add(sent, name)
                self.assertEqual(answer.status, 201, answer.body)
                self.assert_decodes(service, answer.json())
        self.stop(service)

    def test_colours_stay_what_they_were(self):
        service = self.start()
        image = pictures.colourful(800, 600)
        for name, sent in {"cmyk": pictures.saved(image.convert("CMYK"), "JPEG", quality=95),
                           "rgb": pictures.saved(image, "JPEG", quality=95), "png": pictures.saved(image, "PNG")}.items():
            thumb = service.get(service.add(sent, name).json()["versions"][2]["url"]).body
            got = Image.open(io.BytesIO(thumb)).convert("RGB")
            wanted = image.resize(got.size, Image.BOX)
            worst = max(abs(a - b) for p, q in zip(got.getdata(), wanted.getdata()) for a, b in zip(p, q))
            self.assertLess(worst, 40, name)
        self.stop(service)

    def test_pictures_are_held_upright(self):
        service = self.start()
        for orientation in (1, 3, 6, 8):
            record = service.add(pictures.oriented(orientation)).json()
            self.assertEqual((record["width"], record["height"]), (400, 300), orientation)
            thumb = Image.open(io.BytesIO(service.get(record["versions"][2]["url"]).body)).convert("RGB")
            self.assertEqual(thumb.size, (320, 240))
            left, right = thumb.getpixel((40, 120)), thumb.getpixel((280, 120))
            self.assertTrue(left[0] > 200 > left[2] and right[2] > 200 > right[0], (orientation, left, right))
        self.stop(service)

    def test_hostile_pictures_are_refused_with_a_reason(self):
        service = self.start()
        for name, (sent, status, reason) in pictures.hostile().items():
            with self.subTest(name):
                answer = service.add(sent, name)
                self.assertEqual(answer.status, status, answer.body)
                if status != 201:
                    self.assertIn(reason, answer.error())
                    self.assertNotEqual(answer.error(), "")
        self.assertEqual(service.add(pictures.jpeg()).status, 201)  # nobody else is hurt
        self.stop(service)

    def test_limits_are_kept(self):
        service = self.start("--bytes", 100_000, "--pixels", 1_000_000)
        answer = service.add(bytes(200_000))
        self.assertEqual(answer.status, 413)
        self.assertIn("error", answer.json())
        answer = service.ask("POST", "/pictures", (bytes(50_000) for _ in range(4)))  # in chunks
        self.assertEqual(answer.status, 413)
        answer = service.add(pictures.jpeg(1001, 1000))
        self.assertEqual((answer.status, answer.error()),
                         (422, "the picture has 1001 x 1000 pixels; the most is 1000000"))
        self.assertEqual(service.add(pictures.jpeg(1000, 1000)).status, 201)
        self.stop(service)

    def test_a_picture_that_takes_too_long_is_stopped(self):
        service = self.start("--picture-ms", 1)
        answer = service.add(pictures.laborious())
        self.assertEqual((answer.status, answer.error()), (503, "the picture took too long"))
        self.assertIn("Retry-After", answer.fields)
        self.stop(service)

    def test_equal_pictures_are_kept_once(self):
        service = self.start()
        sent = pictures.jpeg(1200, 900)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(service.add(sent))) for _ in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
        self.assertEqual(sorted(a.status for a in answers), [200] * 7 + [201])
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertEqual(len(service.ids()), 1)
        self.stop(service)

    def test_lists_go_on_where_they_ended(self):
        service = self.start()
        added = [service.add(pictures.png(20, 20, seed=i)).json()["id"] for i in range(7)]
        got, after = [], ""
        while True:
            page = service.get(f"/pictures?limit=3&after={after}").json()
            got += [p["id"] for p in page["pictures"]]
            after = page["next"]
            if not after:
                break
        self.assertEqual(sorted(got), sorted(added))
        for bad in ("limit=0", "limit=x", "limit=1000", "after=x", "after=1", "after=x.y"):
            self.assertEqual(service.get("/pictures?" + bad).status, 400, bad)
        self.stop(service)

    def test_files_are_served_by_name_alone(self):
        service = self.start()
        url = service.add(pictures.jpeg()).json()["versions"][0]["url"]
        answer = service.get(url)
        self.assertEqual(answer.fields["Content-Type"], "image/jpeg")
        self.assertIn("immutable", answer.fields["Cache-Control"])
        again = service.ask("GET", url, fields={"If-None-Match": answer.fields["ETag"]})
        self.assertEqual((again.status, again.body), (304, b""))
        part = service.ask("GET", url, fields={"Range": "bytes=2-5"})
        self.assertEqual((part.status, part.body), (206, answer.body[2:6]))
        longer = url.removeprefix("/files/")[:2] + 300 * "a"  # than a file system's names
        for bad in ("..%2F..%2Fpictures.db", "%2e%2e", "pictures.db", "..%2Fpictures.db", "a", "%00ab", longer):
            self.assertIn(service.get("/files/" + bad).status, (400, 404), bad)
        self.stop(service)


class Load(Case):
    def begin(self, service, sent, upto):
        """An upload of which only a beginning has been sent."""
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=patience)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /pictures HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent[:upto])
        return connection

    def test_too_many_are_told_to_come_again(self):
        service = self.start("--uploads", 2)
        sent = [pictures.jpeg(seed=i) for i in range(3)]
        held = [self.begin(service, s, 1000) for s in sent[:2]]
        eventually(lambda: service.look()["uploads"] == 2, "two that have a place")
        answer = eventually(lambda: (a := service.add(sent[2])).status == 503 and a, "a refusal")
        self.assertGreaterEqual(int(answer.fields["Retry-After"]), 1)
        self.assertIn("too many", answer.error())
        self.assertEqual(service.get("/ping").status, 200)
        for connection, s in zip(held, sent):
            connection.sendall(s[1000:])
            self.assertIn(b" 20", connection.recv(100).split(b"\r\n")[0])
        self.assertIn(service.add(sent[2]).status, (200, 201))
        eventually(lambda: service.look()["refused"] >= 1, "the refusal in the news")
        self.stop(service)

    def test_an_upload_that_takes_too_long_loses_its_place(self):
        service = self.start("--uploads", 1, "--upload-ms", 300)
        slow = self.begin(service, bytes(10_000), 100)
        head, body = (slow.makefile("rb").read().split(b"\r\n\r\n") + [b""])[:2]
        self.assertTrue(head.startswith(b"HTTP/1.1 408 "), head)
        self.assertIn(b'{"error":', body)
        self.assertEqual(service.add(pictures.jpeg()).status, 201)
        self.stop(service)

    def test_what_is_announced_as_too_large_is_not_asked_for(self):
        service = self.start("--bytes", 1000)
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=patience)
        self.addCleanup(connection.close)
        connection.sendall(b"POST /pictures HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
        self.assertTrue(connection.makefile("rb").readline().startswith(b"HTTP/1.1 413 "))
        self.stop(service)

    def test_a_full_disk_refuses_and_goes_on(self):
        service = self.start()
        first = service.add(pictures.jpeg(seed=1)).json()
        _, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (100, hard))
        self.assertEqual(service.add(pictures.jpeg(seed=2)).status, 500)
        eventually(lambda: "File too large" in service.said(), "a line that says why")
        self.assertEqual([name for _, _, names in os.walk(service.folder) for name in names if "unfinished" in name], [])
        self.assertEqual(service.get(first["original"]).status, 200)
        self.assertEqual(service.ids(), [first["id"]])
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        self.assertEqual(service.add(pictures.jpeg(seed=2)).status, 201)

    def test_a_full_queue_refuses_before_a_picture_was_sent(self):
        service = self.start("--workers", 1, "--queue", 1, "--queue-ms", 1_000_000)
        done = []
        slow = [pictures.laborious(i) for i in range(2)]
        threads = [threading.Thread(target=lambda s=s: done.append(service.add(s).status)) for s in slow]
        threads[0].start()
        eventually(lambda: service.look()["working"] == 1, "one in work")
        threads[1].start()
        eventually(lambda: service.look()["queued"] == 1, "one that waits")
        late = self.begin(service, bytes(1_000_000), 10)
        head = late.recv(1000).decode()
        self.assertRegex(head, r"^HTTP/1\.1 503 ")
        self.assertRegex(head, r"\r\nRetry-After: \d+\r\n")
        self.assertEqual(done, [], "it was to be refused while they were in work")
        for t in threads: t.join()
        self.assertEqual(done, [201, 201])
        self.assertGreaterEqual(service.look()["refused"], 1)
        self.stop(service, pictures=2)

    def test_who_has_waited_for_too_long_is_not_begun(self):
        service = self.start("--workers", 1, "--queue-ms", 100)
        slow = pictures.laborious()
        first = threading.Thread(target=lambda: eventually(lambda: service.add(slow).status == 201, "a turn"))
        first.start()
        eventually(lambda: service.look()["working"] == 1, "one in work")
        answer = service.add(pictures.jpeg())
        self.assertEqual(answer.status, 503)
        self.assertIn("Retry-After", answer.fields)
        first.join()
        eventually(lambda: service.look()["expired"] >= 1, "it in the news")
        eventually(lambda: service.add(pictures.jpeg()).status == 201, "its turn")
        self.stop(service, pictures=2)

    def test_a_flood_is_shed_and_over_when_it_ends(self):
        service = self.start("--workers", 1, "--queue-ms", 200)
        statuses = []
        def run(number):
            for i in range(4):
                statuses.append(service.add(pictures.laborious(number * 100 + i, 2000)).status)
        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
        self.assertEqual(set(statuses), {201, 503})
        eventually(lambda: service.add(pictures.jpeg()).status == 201, "the end of the flood")
        eventually(lambda: (now := service.look())["uploads"] + now["queued"] == 0, "an empty workshop")
        self.stop(service, pictures=statuses.count(201) + 1)

    def test_who_leaves_in_the_middle_of_an_upload_leaves_no_trace(self):
        service = self.start("--uploads", 1)
        for upto in (0, 1, 5000):
            self.begin(service, pictures.jpeg(), upto).close()
        eventually(lambda: service.add(pictures.jpeg(seed=9)).status == 201, "a free place")
        self.assertEqual(len(service.ids()), 1)
        service.stop()

    def test_who_leaves_ends_the_work(self):
        service = self.start("--workers", 1)
        slow = pictures.laborious()
        connection = self.begin(service, slow, len(slow))
        eventually(lambda: service.look()["working"] == 1, "its turn")
        connection.close()
        eventually(lambda: service.look()["working"] == 0, "its end")
        self.assertEqual(service.ids(), [])
        self.stop(service, pictures=0, cut_off=1)

    def test_small_requests_are_answered_while_pictures_are_made(self):
        service = self.start()
        done = []
        slow = [pictures.laborious(i, 4000) for i in range(4)]
        threads = [threading.Thread(target=lambda s=s: done.append(service.add(s).status)) for s in slow]
        for t in threads: t.start()
        eventually(lambda: service.look()["working"] > 0, "work")
        pings = 0
        while len(done) < len(slow):
            self.assertEqual(service.get("/ping").status, 200)
            pings += 1
        for t in threads: t.join()
        self.assertEqual(done, [201] * 4)
        self.assertGreater(pings, 20)
        self.stop(service)

    def uploaders(self, service, accepted, failed):
        """Threads that upload until nobody listens; what was accepted is noted."""
        def run(number):
            for i in range(1000):
                try:
                    answer = service.add(pictures.jpeg(300, 200, seed=number * 1000 + i))
                except OSError as e:
                    failed.append(e)
                    return
                except Exception as e:  # an answer that was begun
                    failed.append(e)
                    return
                if answer.status == 201:
                    accepted.append(answer.json()["id"])
                else:
                    failed.append(answer.status)
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for t in threads: t.start()
        return threads

    def keeps_what_it_accepted(self, end):
        folder = tempfile.mkdtemp(prefix="weft_images_")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        service = self.start(folder=folder)
        accepted, failed = [], []
        threads = self.uploaders(service, accepted, failed)
        eventually(lambda: len(accepted) > 8, "some uploads")
        words = end(service)
        for t in threads: t.join(patience)
        again = self.start(folder=folder)
        for id in accepted:
            record = again.get("/pictures/" + id)
            self.assertEqual(record.status, 200, "an accepted upload is lost")
            self.assert_decodes(again, record.json())
        self.stop(again)
        return words, failed

    def test_a_drain_loses_nothing(self):
        words, failed = self.keeps_what_it_accepted(lambda service: service.stop())
        self.assertRegex(words, "0 uploads cut off\n$")
        for f in failed:
            # Refused, or closed before a request had begun: it was not accepted.
            self.assertIsInstance(f, ConnectionError)

    def test_a_crash_loses_nothing_that_was_accepted(self):
        def crash(service):
            service.process.kill()
            service.process.wait()
        self.keeps_what_it_accepted(crash)

    def test_a_drain_ends_the_events(self):
        service = self.start()
        connection = service.connect()
        self.addCleanup(connection.close)
        connection.request("GET", "/events")
        events = connection.getresponse()
        events.readline()
        service.terminate()
        events.read()  # to their end, as it ought to be
        service.last_words()


class Web(http.server.BaseHTTPRequestHandler):
    """Somebody else's server, not always a good one."""

    def do_GET(self):
        name = self.path.split("?")[0]
        if name == "/hang":
            self.server.going.wait(patience)
            return
        if name == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff")
            return
        redirects = {"/there": "/some%20picture.jpg", "/round": "/round", "/ftp": "ftp://127.0.0.1/x",
                     "/relative": "some%20picture.jpg?x=1#part"}
        if name in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = {"/some%20picture.jpg": pictures.jpeg(seed=77), "/text": b"hello", "/large": bytes(3_000_000)}.get(name)
        self.send_response(200 if body else 404)
        if name != "/large":
            self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


class Fetch(Case):
    def serve(self, certificate=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
        server.daemon_threads = True
        server.going = threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # clients that go away
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()

        def stop():
            server.going.set()
            server.shutdown()
            thread.join()
            server.server_close()
        self.addCleanup(stop)
        return f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"

    def test_a_picture_is_fetched(self):
        web = self.serve()
        service = self.start("--local-urls", 1)
        for path in ("/some%20picture.jpg", "/there", "/relative", "/some%20picture.jpg?a=b"):
            answer = service.fetch(web + path)
            self.assertIn(answer.status, (200, 201), answer.body)
            self.assertEqual(answer.json()["name"], "some picture.jpg")
        self.stop(service)

    def test_what_can_go_wrong_is_told(self):
        web = self.serve()
        service = self.start("--local-urls", 1, "--bytes", 1_000_000, "--fetch-ms", 1000 * patience)
        hasty = self.start("--local-urls", 1, "--fetch-ms", 200)
        answer = hasty.fetch(web + "/hang")
        self.assertEqual(answer.status, 504, answer.body)
        self.assertIn("too long", answer.error())
        self.stop(hasty, pictures=0)
        answer = service.ask("POST", "/pictures?url=x", b"an address, and a body")
        self.assertEqual(answer.status, 413, answer.body)
        for url, status, reason in (
                (web + "/none", 502, "answers 404"), (web + "/text", 415, "neither"), (web + "/large", 413, "1000000 bytes"),
                (web + "/round", 502, "redirect"), (web + "/cut", 502, ""),
                (web + "/ftp", 502, "no address"), ("ftp://127.0.0.1/x", 400, "no address"),
                ("file:///etc/passwd", 400, "no address"), ("x", 400, "no address"), ("", 400, "no address"), (b"http://\xff/", 502, "resolve"),
                ("http://user:password@127.0.0.1/", 400, "no address"), ("http://127.0.0.1:1/", 502, "127.0.0.1:1"),
                ("http://no-such-name.invalid/", 502, "no-such-name.invalid")):
            with self.subTest(url):
                answer = service.fetch(url)
                self.assertEqual(answer.status, status, answer.body)
                self.assertIn(reason, answer.error())
        self.stop(service)

    def test_nobody_reaches_what_is_behind_us(self):
        service = self.start()
        inside = service.url.removeprefix("http://127.0.0.1:")
        for host in ("[3fff::1]", "[2001:db8::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254",
                     "[::ffff:127.0.0.1]", "[fe80::1]", "[fc00::1]", "2130706433", "0x7f.1", "127.1", "017700000001"):
            with self.subTest(host):
                answer = service.fetch(f"http://{host}/ping")
                self.assertEqual(answer.status, 403, answer.body)
        answer = service.fetch(f"http://127.0.0.1:{inside}/ping")
        self.assertEqual((answer.status, answer.error()), (403, "only ports 80 and 443 are asked"))
        self.stop(service)

    def test_https_wants_a_certificate_that_is_to_be_trusted(self):
        folder = tempfile.mkdtemp(prefix="weft_tls_")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        certificate = [os.path.join(folder, n) for n in ("certificate.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-out", certificate[0], "-keyout", certificate[1]], check=True, capture_output=True)
        web = self.serve(certificate)
        trusting = self.start("--local-urls", 1, "--authorities", certificate[0])
        self.assertEqual(trusting.fetch(web + "/there").status, 201)
        wrong_name = trusting.fetch(web.replace("127.0.0.1", "localhost") + "/there")
        self.assertEqual(wrong_name.status, 502, wrong_name.body)
        self.stop(trusting)
        wary = self.start("--local-urls", 1)
        answer = wary.fetch(web + "/there")
        self.assertEqual(answer.status, 502, answer.body)
        self.assertIn("certificate", answer.error())
        self.stop(wary)


class Files(Case):
    def test_what_is_no_database_is_told_by_its_name(self):
        folder = tempfile.mkdtemp(prefix="weft_images_")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        file = os.path.join(folder, "pictures.db")
        with open(file, "wb") as text:
            text.write(b"no database" * 100)
        with self.assertRaisesRegex(RuntimeError, f"image_service: SQLite: .*, {file}"):
            self.start(folder=folder)

    def test_who_writes_in_the_database_for_long_is_not_waited_for(self):
        service = self.start()
        other = sqlite3.connect(os.path.join(service.folder, "pictures.db"), isolation_level=None)
        self.addCleanup(other.close)
        other.execute("begin exclusive")
        answer = service.add(pictures.jpeg())
        self.assertEqual(answer.status, 503, answer.body)
        self.assertIn("Retry-After", answer.fields)
        self.assertEqual(service.get("/pictures").status, 200)
        other.execute("rollback")
        self.assertEqual(service.add(pictures.jpeg()).status, 201)
        self.stop(service)


@unittest.skipUnless(postgres.installed(), "no PostgreSQL is installed")
class Database(Case):
    def test_it_survives_that_the_database_is_stopped_and_started(self):
        server = postgres.Server()
        self.addCleanup(server.close)
        service = self.start("--database", server.url)
        first = service.add(pictures.jpeg(seed=1)).json()
        self.assertEqual(service.ids(), [first["id"]])
        for round in range(2):
            server.stop()
            answer = service.get("/pictures")
            self.assertEqual(answer.status, 503, answer.body)
            self.assertGreaterEqual(int(answer.fields["Retry-After"]), 1)
            self.assertEqual(service.add(pictures.jpeg(seed=10 + round)).status, 503)
            self.assertEqual(service.get("/ping").status, 200)
            self.assertEqual(service.get(first["original"]).status, 200)
            server.start()
            self.assertEqual(service.add(pictures.jpeg(seed=10 + round)).status, 201)
            self.assertIn(first["id"], service.ids())
        self.assertEqual(len(service.ids()), 3)
        self.stop(service)

    def test_a_restart_under_load_loses_nothing(self):
        server = postgres.Server()
        self.addCleanup(server.close)
        service = self.start("--database", server.url)
        accepted, statuses, stop = [], set(), threading.Event()

        def run(number):
            for i in range(1000):
                if stop.is_set():
                    return
                answer = service.add(pictures.png(30, 20, seed=number * 1000 + i))
                statuses.add(answer.status)
                if answer.status == 201:
                    accepted.append(answer.json()["id"])
        threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
        for t in threads: t.start()
        try:
            for _ in range(2):
                n = len(accepted)
                eventually(lambda: len(accepted) > n + 5, "uploads")
                server.stop()
                server.start()
            n = len(accepted)
            eventually(lambda: len(accepted) > n + 5, "uploads again")
        finally:
            stop.set()
            for t in threads: t.join()
        self.assertLessEqual(statuses, {200, 201, 503})
        for id in accepted:
            self.assertEqual(service.get("/pictures/" + id).status, 200)
        self.stop(service)


if __name__ == "__main__":
    unittest.main(verbosity=2)

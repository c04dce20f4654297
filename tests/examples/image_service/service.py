"""The built image service, started by a test, and what its clients say to it."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from tell import tell  # noqa: E402

patience = 60  # seconds, for what takes far less, on a busy machine with a sanitizer
program = os.environ.get("WEFT_IMAGE_SERVICE", "")


def eventually(is_so, what="it", limit=patience):
    """Tries until it is so; gives what it gave."""
    until = time.monotonic() + limit
    while True:
        result = is_so()
        if result:
            return result
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come about in {limit} s")
        time.sleep(0.01)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]


class Service:
    """A process of its own, in a folder that goes with it unless one is given."""

    def __init__(self, *options, folder=None):
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="weft_images_")
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            # Other tests may keep the cores busy: so its workers are not in the background, and have time.
            [program, "--port", "0", "--folder", self.folder, "--background", "0",
             *(part for name in ("--picture-ms", "--queue-ms") if name not in options for part in (name, "120000")),
             *map(str, options)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            restore_signals=False)  # SIGXFSZ stays ignored, so that a test can limit its files
        first = self.process.stdout.readline()
        match = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", first)
        if not match:
            if not first:
                self.process.wait(patience)
            said = self.said()
            self.kill()
            raise RuntimeError(f"it says {first!r} and {said!r}")
        self.port = int(match[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def said(self):
        """What it complained of; but not that a loop was held up, which happens to all on a busy machine."""
        self.errors.seek(0)
        return re.sub(r'weft: task .* has kept loop .*\n(    .*\n)*', "", self.errors.read())

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)

    def ask(self, method, target, body=None, fields={}):
        connection = self.connect()
        try:
            connection.request(method, target, body, fields)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target):
        return self.ask("GET", target)

    def add(self, picture, name="picture"):
        return self.ask("POST", "/pictures?name=" + urllib.parse.quote(name), picture)

    def fetch(self, url):
        return self.ask("POST", "/pictures?url=" + urllib.parse.quote(url, safe=""))

    def ids(self):
        return [p["id"] for p in self.get("/pictures?limit=200").json()["pictures"]]

    def look(self):
        """What the charts show now: half a second old at most."""
        return self.get("/live").json()

    def terminate(self):
        tell(self.process, signal.SIGTERM)

    def last_words(self):
        """Waits for its end; gives what it said. It must have ended well, and not complained."""
        out, _ = self.process.communicate(timeout=patience)
        complaints = self.said()
        if self.process.returncode != 0 or complaints:
            raise AssertionError(f"it ended with {self.process.returncode} and said {complaints!r}")
        return out

    def stop(self):
        self.terminate()
        try:
            return self.last_words()
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)

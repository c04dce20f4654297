"""The example servers before wrk: all loops, keep-alive, and no answer that is wrong."""

import base64
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest
import urllib.request

import support
from support import identity, needs

EXAMPLES = os.environ.get("WEFT_EXAMPLES_DIR", "")
ONE_PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")


class Examples(support.Case):
    def serve_example(self, name, *arguments):
        """Where it listens. It ends in order when the test does."""
        program = os.path.join(EXAMPLES, name)
        if not os.access(program, os.X_OK):
            self.skipTest(f"{name} was not built")
        process = self.start(program, "--port", 0, *arguments, stdout=subprocess.PIPE)
        url = re.fullmatch(r"listening on (https?://[0-9.:]+)\n", process.stdout.readline().decode())[1]

        def stop():
            support.tell(process, signal.SIGTERM)
            self.assertEqual(process.wait(support.LIMIT), 0)
            self.assertRegex(process.stdout.read().decode(), r"^stopped: \d+ requests answered")  # wrk leaves some

        self.addCleanup(stop)
        return url

    def wrk(self, at):
        out = self.run_command("wrk", "-t", 1, "-c", 50, "-d", "1s", at)
        self.assertNotIn("Socket errors", out)
        self.assertNotIn("Non-2xx", out)
        self.assertGreater(int(re.search(r"(\d+) requests in", out)[1]), 50)

    @needs("wrk")
    def test_http_server(self):
        url = self.serve_example("10_http_server", "--background", 0)
        for target in ("/hello", "/gather?id=3"):
            self.wrk(url + target)

    @needs("wrk", "openssl")
    def test_reverse_proxy(self):
        behind = [self.serve_example("10_http_server").removeprefix("http://") for _ in range(2)]
        options = ["--upstreams", ",".join(behind), "--health", "/hello"]
        self.wrk(self.serve_example("13_reverse_proxy", *options) + "/hello")
        tls = [part for name, value in identity().items() for part in (f"--{name}", value)]
        self.wrk(self.serve_example("13_reverse_proxy", *options, *tls) + "/hello")

    @needs("wrk")
    def test_image_service(self):
        with tempfile.TemporaryDirectory() as folder:
            url = self.serve_example("image_service/image_service", "--folder", folder, "--background", 0)
            with urllib.request.urlopen(urllib.request.Request(url + "/pictures?name=a.png", ONE_PIXEL)) as answer:
                record = json.load(answer)
            for target in ("/ping", "/", "/pictures", record["versions"][2]["url"]):
                self.wrk(url + target)
            self.doCleanups()  # before its folder goes


if __name__ == "__main__":
    unittest.main()

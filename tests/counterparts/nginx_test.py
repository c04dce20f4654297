"""nginx before a weft server, and behind a weft client and proxy."""

import os
import unittest

import support
from support import free_port, identity, needs, paper, wait_for_port

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 100000;
  {more}
}}
"""
PAGES = 'location /hello { return 200 "hello\\n"; }'


@needs("nginx")
class Nginx(support.Case):
    def nginx(self, more):
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as f:
            f.write(CONFIGURATION.format(folder=self.folder, more=more))
        return self.start(support.find("nginx"), "-e", os.path.join(self.folder, "errors"), "-c", path)

    def origin(self, tls=False):
        port = free_port()
        own = f"ssl_certificate {paper('server.pem')}; ssl_certificate_key {paper('server.key')}; " \
              "ssl_protocols TLSv1.2 TLSv1.3;" if tls else ""
        self.nginx(f"server {{ listen 127.0.0.1:{port} {'ssl' if tls else ''}; {own} {PAGES} }}")
        wait_for_port(port)
        return port

    def before(self, server, upstream, more=""):
        """nginx as a reverse proxy that keeps its connections to the server."""
        port = free_port()
        self.nginx(f"""upstream behind {{ server {server.address}; keepalive 8; }}
          server {{ listen 127.0.0.1:{port};
            location / {{ proxy_pass {upstream}://behind; proxy_http_version 1.1; proxy_set_header Connection "";
                          {more} }} }}""")
        wait_for_port(port)
        return port

    def test_is_asked_by_a_weft_client(self):
        port = self.origin()
        for loops in (1, 2):
            self.assertEqual(self.client(port, "http", loops=loops, connections=50, requests=100), ["plain"])

    @needs("openssl")
    def test_is_asked_over_tls_and_resumes_sessions(self):
        port = self.origin(tls=True)
        for loops in (1, 2):
            lines = self.client(port, "http", loops=loops, rounds=3, requests=20, authorities=paper("authority.pem"),
                                name="localhost")  # fmt: skip
            self.assertEqual(lines, ["TLSv1.3 alpn= peer=CN=server resumed=" + resumed for resumed in
                                     ("no", "yes", "yes")])  # fmt: skip

    def test_is_asked_through_a_weft_proxy(self):
        for loops in (1, 2):
            proxy = self.serve("proxy", loops, upstream=f"127.0.0.1:{self.origin()}")
            self.assertEqual(self.client(proxy.port, "http", loops=loops, connections=20, requests=50), ["plain"])

    @needs("openssl")
    def test_is_asked_through_a_weft_proxy_that_puts_tls_before_it(self):
        proxy = self.serve("proxy", 1, upstream=f"127.0.0.1:{self.origin(tls=True)}", upstream_name="localhost",
                           upstream_authorities=paper("authority.pem"))  # fmt: skip
        self.assertEqual(self.client(proxy.port, "http", connections=20, requests=50), ["plain"])

    @needs("curl")
    def test_stands_before_a_weft_server(self):
        for loops in (1, 2):
            port = self.before(self.serve("http", loops), "http")
            self.assertEqual(self.client(port, "http", connections=20, requests=50), ["plain"])
            large = os.path.join(self.folder, "large")
            self.run_command("curl", "-s", "-o", large, f"http://127.0.0.1:{port}/large")
            self.assertEqual(os.path.getsize(large), 1024 * 1024)
            self.stop_all()

    @needs("openssl")
    def test_stands_before_a_weft_server_with_tls(self):
        for loops in (1, 2):
            port = self.before(self.serve("http", loops, **identity()), "https",
                               f"""proxy_ssl_verify on; proxy_ssl_trusted_certificate {paper('authority.pem')};
                                   proxy_ssl_name localhost; proxy_ssl_server_name on;""")  # fmt: skip
            self.assertEqual(self.client(port, "http", connections=20, requests=50), ["plain"])
            self.stop_all()

    def stop_all(self):
        """Now, for nginx keeps its connections as long as it runs."""
        self.doCleanups()
        self.setUp()


if __name__ == "__main__":
    unittest.main()

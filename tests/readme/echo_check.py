#!/usr/bin/env python3
"""echo_check.py PROGRAM: the line server of io/README.md gives lines back, and ends well on SIGTERM."""
import signal
import socket
import subprocess
import sys
import time

with subprocess.Popen([sys.argv[1]]) as server:
    for _ in range(200):
        try:
            client = socket.create_connection(("127.0.0.1", 47613), timeout=10)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    else:
        sys.exit("the server does not listen")
    with client, client.makefile("rb") as lines:
        client.sendall(b"one\ntwo\n")
        assert lines.readline() == b"one\n"
        assert lines.readline() == b"two\n"
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=30) == 0, f"it ended with {server.returncode}"

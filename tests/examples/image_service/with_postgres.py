"""with_postgres.py PROGRAM...: runs it with WEFT_POSTGRES_URL set to a server that is there as long as it runs."""

import os
import subprocess
import sys

import postgres


def main():
    if not postgres.installed():
        print("no PostgreSQL is installed: its tests are skipped")
        return subprocess.call(sys.argv[1:])
    server = postgres.Server()
    try:
        return subprocess.call(sys.argv[1:], env=dict(os.environ, WEFT_POSTGRES_URL=server.url))
    finally:
        server.close()


sys.exit(main())

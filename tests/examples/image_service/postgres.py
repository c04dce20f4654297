"""A PostgreSQL server of a test's own: in a temporary folder, on a Unix socket there."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile


def installed():
    """The folder of PostgreSQL's programs, or None."""
    found = [os.path.dirname(p) for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    if not found and shutil.which("initdb"):
        found = [os.path.dirname(shutil.which("initdb"))]
    return max(found, default=None)


class Server:
    """`url` is where it is. It does not run as root, for PostgreSQL refuses that: then as nobody."""

    def __init__(self):
        self.programs = installed()
        self.folder = tempfile.mkdtemp(prefix="weft_pg_")
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "log")
        self.user = None
        if os.geteuid() == 0:
            self.user = "postgres" if self._has("postgres") else "nobody"
            shutil.chown(self.folder, self.user)
        self._run("initdb", "-D", self.data, "-U", "weft", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.url = f"postgresql://weft@/postgres?host={self.folder}"
        self.start()

    @staticmethod
    def _has(name):
        try:
            pwd.getpwnam(name)
            return True
        except KeyError:
            return False

    def _run(self, program, *arguments):
        # Its output goes to a file: the server would keep a pipe open.
        with open(self.log + "." + program, "w+") as output:
            result = subprocess.run([os.path.join(self.programs, program), *arguments], cwd="/", user=self.user,
                                    group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                                    extra_groups=[] if self.user else None, stdin=subprocess.DEVNULL,
                                    stdout=output, stderr=subprocess.STDOUT, timeout=90)
            if result.returncode != 0:
                output.seek(0)
                raise RuntimeError(f"{program}: {output.read()}")

    def start(self):
        self._run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "-o",
                  f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off", "start")

    def stop(self):
        """Ends all connections at once."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def close(self):
        try:
            self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")
        except RuntimeError:
            pass  # it was stopped
        shutil.rmtree(self.folder, ignore_errors=True)

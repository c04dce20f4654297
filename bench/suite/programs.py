"""Where the programs are, how those that are missing are built, what cannot be and why."""

import os
import pathlib
import shutil
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent.parent
SOURCE = BENCH.parent
DEBIAN_CRATES = pathlib.Path("/usr/share/cargo/registry")


class Missing(Exception):
    """A program that is not there: why, and the package that would bring it."""

    def __init__(self, why, package=None):
        super().__init__(why)
        self.package = package


def build_ours(say):
    """Configures the release preset where that was not done, builds what is out of date, and gives the folder."""
    folder = SOURCE / "build" / "release"
    say("building weft and the programs (release)")
    if not (folder / "build.ninja").exists():
        subprocess.run(["cmake", "--preset", "release", "--log-level=WARNING"], cwd=SOURCE, check=True, stdout=sys.stderr)
    # Ninja configures again by itself where it must.
    subprocess.run(["cmake", "--build", folder, "--target", "bench_programs"], check=True, stdout=sys.stderr)
    return folder


class Programs:
    """Of one build folder. `build_rivals`: those in Go and Rust are built where they are missing or old."""

    def __init__(self, build, build_rivals, say):
        self.build = pathlib.Path(build).resolve()
        self._build_rivals = build_rivals
        self._say = say

    def path(self, workload, name):
        program = self.build / "bench" / workload / name
        if not os.access(program, os.X_OK):
            raise Missing(f"{program} is not built")
        return program

    def micro(self):
        program = self.build / "bench" / "micro_bench"
        if not os.access(program, os.X_OK):
            raise Missing(f"{program} is not built")
        return program

    def systems(self, workload):
        """The names of those that have a server, or whatever the workload runs: weft first."""
        found = {path.stem.removeprefix(f"{workload}_") for path in (BENCH / workload).glob(f"{workload}_*")}
        return sorted(found, key=lambda name: (not name.startswith("weft"), name))

    def command(self, workload, system):
        """How to start it. Raises Missing."""
        name = f"{workload}_{system}"
        base = BENCH / workload / name
        if base.with_suffix(".py").exists():
            return [sys.executable, str(base.with_suffix(".py"))]
        if base.with_suffix(".go").exists():
            return [self._go(base.with_suffix(".go"), workload, name)]
        if (base / "Cargo.toml").exists():
            return [self._cargo(base, workload, name)]
        return [self.path(workload, name)]

    def _go(self, source, workload, name):
        program = self.build / "bench" / workload / name
        if not shutil.which("go"):
            raise Missing("go is not installed", "golang-go")
        if self._up_to_date(program, [source]):
            return program
        self._say(f"building {name}")
        self._run(["go", "build", "-o", program, source.name], source.parent)
        return program

    def _cargo(self, folder, workload, name):
        program = self.build / "bench" / workload / name
        if not shutil.which("cargo"):
            raise Missing("cargo is not installed", "cargo librust-tokio-dev")
        if not list(DEBIAN_CRATES.glob("tokio-[0-9]*")):
            raise Missing("Debian's tokio is not installed", "librust-tokio-dev")
        sources = [folder / "Cargo.toml", folder / "main.rs"]
        if self._up_to_date(program, sources):
            return program
        self._say(f"building {name}")
        work = self.build / "bench" / "tokio"  # cargo writes its lock file beside the sources
        work.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, work)
        offline = ["--config", 'source.crates-io.replace-with="debian"']
        offline += ["--config", f'source.debian.directory="{DEBIAN_CRATES}"']
        self._run(["cargo", "build", "--release", "--offline", "--quiet", *offline], work)
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "target" / "release" / name, program)
        return program

    def _up_to_date(self, program, sources):
        if program.exists() and all(program.stat().st_mtime >= source.stat().st_mtime for source in sources):
            return True
        if not self._build_rivals:
            raise Missing(f"{program.name} is not built; a run without --smoke builds it")
        return False

    def _run(self, command, folder):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Missing(f"{command[0]} build fails: {done.stderr.strip()[-400:]}")

"""Where it was measured, and with which versions."""

import os
import platform
import re
import subprocess


def _first_match(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return None
    return found[1].strip() if found else None


def _first_line(*command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().partition("\n")[0] or None


def usable_cores():
    return len(os.sched_getaffinity(0))


def machine():
    memory = _first_match("/proc/meminfo", r"^MemTotal:\s*(\d+)")
    return {
        "cpu": _first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)$") or platform.machine(),
        "cores": usable_cores(),
        "memory_gib": round(int(memory) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "governor": _first_match("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r"^(.*)$"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(source, build):
    """Of what the programs were built from and run with; what is not there is left out."""
    cache = build / "CMakeCache.txt"
    compiler = _first_match(cache, r"^CMAKE_CXX_COMPILER:[A-Z]+=(.*)$")
    tbb = [_first_match("/usr/include/oneapi/tbb/version.h", rf"TBB_VERSION_{part}\s+(\d+)") for part in ("MAJOR", "MINOR")]
    boost = _first_match("/usr/include/boost/version.hpp", r'BOOST_LIB_VERSION "(.*)"')
    tokio = _first_match(build / "bench/tokio/Cargo.lock", r'name = "tokio"\nversion = "(.*)"')
    found = {
        "weft": _first_line("git", "describe", "--always", "--dirty", cwd=source),
        "compiler": _first_line(compiler, "--version") if compiler else None,
        "build": _first_match(cache, r"^CMAKE_BUILD_TYPE:[A-Z]+=(.*)$"),
        "Boost": boost and boost.replace("_", "."),
        "Asio": _first_match("/usr/include/asio/version.hpp", r"ASIO_VERSION \d+ // (.*)$"),
        "oneTBB": ".".join(tbb) if all(tbb) else None,
        "Go": _first_line("go", "version"),
        "Rust": _first_line("rustc", "--version"),
        "Tokio": tokio,
        "Python": platform.python_version(),
    }
    return {name: version for name, version in found.items() if version}

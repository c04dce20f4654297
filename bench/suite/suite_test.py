"""The runner's parts that need no servers; and that processes end."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from suite import cases, main, processes, programs, report

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def case(system, name, samples, variant="v"):
    return {"id": f"echo/{system}/{variant}", "scenario": "echo", "system": system, "variant": variant,
            "summary": main.metrics.summarize([{name: value} for value in samples]), "samples": []}  # fmt: skip


class Micro(unittest.TestCase):
    def test_names_are_scenario_system_variant(self):
        self.assertEqual(cases.split_micro_name("mutex/weft/two_loops"), ("micro/mutex", "weft", "two_loops"))
        self.assertEqual(cases.split_micro_name("mutex/std/8/4"), ("micro/mutex", "std", "8/4"))
        self.assertEqual(cases.split_micro_name("yield"), ("micro/yield", "weft", ""))

    def test_what_google_benchmark_appends_is_no_variant(self):
        self.assertEqual(cases.split_micro_name("hop/weft/iterations:3/real_time"), ("micro/hop", "weft", ""))

    def test_the_counter_ns_goes_before_the_time(self):
        self.assertEqual(cases.read_micro({"real_time": 2.0, "time_unit": "us"}), {"ns": 2000})
        self.assertEqual(cases.read_micro({"real_time": 2.0, "time_unit": "us", "ns": 4.0, "bytes": 8}),
                         {"ns": 4, "bytes": 8})  # fmt: skip
        with self.assertRaises(processes.Failed):
            cases.read_micro({"error_occurred": True, "error_message": "no"})

    def test_what_other_languages_measure_is_what_ours_do(self):
        go = (programs.BENCH / "micro" / "micro_go.go").read_text(encoding="utf-8")
        rust = (programs.BENCH / "micro" / "micro_tokio" / "main.rs").read_text(encoding="utf-8")
        ours = "".join(path.read_text(encoding="utf-8") for path in (programs.BENCH / "micro").glob("*_bench.cpp"))
        names = set(re.findall(r'"(\w+)":\s+\{\d, ', go)) | set(re.findall(r'"(\w+)" => ', rust))
        self.assertGreater(len(names), 20)
        self.assertEqual({name for name in names if f'"{name}/weft' not in ours}, set())


class Items(unittest.TestCase):
    def test_a_seed_gives_the_same_items(self):
        self.assertEqual(cases.draw_items(5), cases.draw_items(9)[:5])
        self.assertNotEqual(cases.draw_items(5, 1), cases.draw_items(5, 2))

    def test_digit_squares(self):
        self.assertEqual(cases.digit_squares(120), 5)


class Missing(unittest.TestCase):
    def test_an_empty_build_folder_skips_all_and_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            have = programs.Programs(folder, build_rivals=False, say=print)
            found, skipped = cases.all_cases(have, cases.SMOKE)
        self.assertEqual({case.system for case in found}, {"asyncio"})  # needs no building
        self.assertTrue({"echo", "http", "mixed", "micro", "producer_consumer/weft"} <= {s.what for s in skipped})

    def test_a_rival_without_its_compiler_names_the_package(self):
        path = os.environ["PATH"]
        os.environ["PATH"] = "/nowhere"
        try:
            with tempfile.TemporaryDirectory() as folder:
                have = programs.Programs(folder, build_rivals=True, say=print)
                for system, package in (("go", "golang-go"), ("tokio", "cargo librust-tokio-dev")):
                    with self.assertRaises(programs.Missing) as raised:
                        have.command("echo", system)
                    self.assertEqual(raised.exception.package, package)
        finally:
            os.environ["PATH"] = path


class Choice(unittest.TestCase):
    def test_globs_and_prefixes(self):
        self.assertTrue(main.matches("echo/weft/64B/c50/t1", None))
        self.assertTrue(main.matches("echo/weft/64B/c50/t1", ["echo"]))
        self.assertTrue(main.matches("echo/weft/64B/c50/t1", ["*/weft/*c50*"]))
        self.assertFalse(main.matches("echo/weft/64B/c50/t1", ["http/*", "ech"]))


class Report(unittest.TestCase):
    def test_what_is_between_the_markers_is_replaced(self):
        old = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        new = report.between_markers(old, "new")
        self.assertEqual(new, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.between_markers(new, "new"), new)
        with self.assertRaises(ValueError):
            report.between_markers("no markers", "new")

    def test_the_readme_has_its_markers(self):
        report.between_markers((programs.BENCH / "README.md").read_text(encoding="utf-8"), "")

    def test_losses_are_told_worst_first_and_beyond_noise_only(self):
        result = {"cases": [case("weft", "requests_per_s", [100] * 3), case("go", "requests_per_s", [120] * 3),
                            case("tokio", "requests_per_s", [103] * 3), case("epoll", "requests_per_s", [200] * 3),
                            case("asyncio", "requests_per_s", [20] * 3),
                            case("weft_realtime", "requests_per_s", [300] * 3)]}  # fmt: skip
        self.assertEqual([(round(ratio, 2), rival) for ratio, _, _, rival in report.losses(result)],
                         [(2.0, "epoll"), (1.2, "go")])  # fmt: skip


class Processes(unittest.TestCase):
    def gone(self, pid):
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

    def test_a_process_ends_with_its_block(self):
        with processes.process(SLEEP) as child:
            pid = child.pid
        self.gone(pid)

    def test_an_error_ends_it_too(self):
        with self.assertRaises(KeyboardInterrupt):
            with processes.process(SLEEP) as child:
                raise KeyboardInterrupt
        self.gone(child.pid)

    def test_what_does_not_end_is_an_error_and_is_ended(self):
        with self.assertRaisesRegex(processes.Failed, "not done"):
            processes.output_of(SLEEP, timeout=0.2)

    def test_a_server_that_says_nothing_is_an_error(self):
        with self.assertRaisesRegex(processes.Failed, "does not serve: no port"):
            with processes.server([sys.executable, "-c", "import sys; sys.exit('no port')"]):
                self.fail("it cannot be served")

    def test_the_table_of_strace_is_read(self):
        table = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           6       100           sendto
 40.00    0.000400           4       102         2 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           4       202         2 total
"""
        self.assertEqual(processes.parse_strace(table), {"sendto": 100, "recvfrom": 102})


class Interrupt(unittest.TestCase):
    def test_sigterm_ends_what_the_runner_started_and_writes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            # A build folder with a load that never ends; asyncio's server needs no building.
            load = pathlib.Path(folder, "bench/echo/load")
            load.parent.mkdir(parents=True)
            load.write_text(f"#!/bin/sh\necho $$ >{folder}/pid\nexec sleep 60\n", encoding="utf-8")
            load.chmod(0o755)
            run = subprocess.Popen([programs.BENCH / "run", "--smoke", "--build", folder, "--only", "echo/asyncio/*",
                                    "--output", f"{folder}/result"], stderr=subprocess.DEVNULL)  # fmt: skip
            pid = pathlib.Path(folder, "pid")
            until = time.monotonic() + 30
            while not (pid.exists() and pid.read_text(encoding="utf-8").strip()) and time.monotonic() < until:
                time.sleep(0.02)
            run.send_signal(signal.SIGTERM)
            self.assertEqual(run.wait(20), 130)
            with self.assertRaises(ProcessLookupError):
                os.kill(int(pid.read_text(encoding="utf-8")), 0)
            self.assertFalse(pathlib.Path(folder, "result.json").exists())


if __name__ == "__main__":
    unittest.main()

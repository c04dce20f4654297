"""The command: what is measured in which order, progress, files."""

import argparse
import dataclasses
import datetime
import fnmatch
import json
import pathlib
import resource
import signal
import sys
import time

from . import cases, machine, metrics, processes, programs, report

RESULTS = programs.BENCH / "results"


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__, allow_abbrev=False)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="all scenarios within five minutes, once built")
    much.add_argument("--smoke", action="store_true", help="each once and tiny: do the answers come?")
    parser.add_argument("--only", metavar="GLOB", action="append", help="cases whose name matches, such as 'echo/*'")
    parser.add_argument("--repeat", type=int, metavar="N", help="samples of each case")
    parser.add_argument("--output", metavar="NAME", help="of the files in bench/results, or a path without suffix")
    parser.add_argument("--list", action="store_true", help="what there is, and what is skipped and why")
    parser.add_argument("--build", metavar="DIR", help="use the programs of this build folder as they are")
    parser.add_argument("--from", metavar="JSON", dest="source", help="measure nothing: draw this result again")
    parser.add_argument("--readme", action="store_true", help="put the tables into bench/README.md too")
    given = parser.parse_args(arguments)
    if given.repeat is not None and given.repeat < 1:
        parser.error("--repeat needs at least 1")
    return given


def settings_for(given):
    chosen = cases.SMOKE if given.smoke else cases.QUICK if given.quick else cases.FULL
    if given.repeat is not None:
        chosen = dataclasses.replace(chosen, repeat=given.repeat, budget=float("inf"))
    return chosen


def matches(name, globs):
    return not globs or any(fnmatch.fnmatchcase(name, glob) or name.startswith(glob.rstrip("/") + "/") for glob in globs)


def open_many_files():
    """10,000 connections need as many descriptors, and the usual limit of 1,024 may be raised by whoever likes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Progress:
    """A line for each sample, and the time left: by what was expected, corrected by what it took so far."""

    def __init__(self, total):
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._expected = 0.0
        self.left = 0.0

    def forget(self, cases_left_out):
        self._total -= len(cases_left_out)
        self.left -= sum(case.expected for case in cases_left_out)

    def after(self, case, round_number, outcome):
        self._done += 1
        self._expected += case.expected
        self.left -= case.expected
        factor = (time.monotonic() - self._began) / self._expected
        minutes, seconds = divmod(int(max(0.0, self.left) * factor), 60)
        say(f"[{self._done:4}/{self._total}] {round_number}: {case.id:<44} {outcome:<26} {minutes}:{seconds:02} left")


def in_rounds(chosen):
    """One list of rivals for each scenario and variant."""
    groups = {}
    for case in chosen:
        groups.setdefault((case.scenario, case.variant), []).append(case)
    return list(groups.values())


def measure(chosen, settings):
    """({id: [sample]}, {id: {call: a request}}, [failure]). Rivals take turns, and each round another one begins."""
    samples = {case.id: [] for case in chosen}
    calls = {}
    failures = []
    counting = [case for case in chosen if case.count_calls]
    progress = Progress(sum(min(settings.repeat, case.most) for case in chosen) + len(counting))
    progress.left = sum(case.expected * min(settings.repeat, case.most) for case in chosen)
    progress.left += sum(case.expected for case in counting)

    def attempt(case, round_number, work, keep):
        try:
            outcome = keep(work())
        except (processes.Failed, OSError, KeyError, ValueError) as error:
            failures.append({"case": case.id, "why": str(error) or repr(error)})
            outcome = f"FAILED: {error}"
        progress.after(case, round_number, outcome)

    def keep_sample(case):
        def keep(sample):
            samples[case.id].append(sample)
            name = metrics.headline(sample)
            return f"{metrics.short(sample[name])} {metrics.METRICS[name][0]}" if name else "done"

        return keep

    def keep_calls(case):
        def keep(found):
            calls[case.id] = found
            return f"{metrics.short(sum(found.values()))} system calls/request"

        return keep

    began = time.monotonic()
    longest_round = 0.0
    for number in range(settings.repeat):
        round_began = time.monotonic()
        if number > 0 and round_began - began + longest_round > settings.budget:
            say(f"after {number} rounds the time is up")
            progress.forget([case for case in chosen for _ in range(number, min(settings.repeat, case.most))])
            break
        for group in in_rounds(chosen):
            turn = number % len(group)
            for case in group[turn:] + group[:turn]:
                if number < case.most:
                    attempt(case, number + 1, case.measure, keep_sample(case))
        longest_round = max(longest_round, time.monotonic() - round_began)
    for case in counting:
        attempt(case, "calls", case.count_calls, keep_calls(case))
    return samples, calls, failures


def collect(chosen, settings, measured, skipped, where):
    samples, calls, failures = measured
    found = []
    for case in chosen:
        summary = metrics.summarize(samples[case.id])
        entry = {"id": case.id, "scenario": case.scenario, "system": case.system, "variant": case.variant}
        if case.id in calls:
            total = sum(calls[case.id].values())
            summary["system_calls_per_request"] = {"median": total, "mad": 0.0, "count": 1}
            entry["system_calls"] = calls[case.id]
        found.append({**entry, "summary": summary, "samples": samples[case.id]})
    how = dataclasses.asdict(settings)
    how["budget"] = None if settings.budget == float("inf") else settings.budget
    return {
        "format": 1,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **where,
        "settings": how,
        "skipped": [dataclasses.asdict(skip) for skip in skipped],
        "failures": failures,
        "cases": found,
    }


def output_path(given, result):
    if given.output is None and given.source:
        return pathlib.Path(given.source).with_suffix("")
    name = given.output or f"{result['date'][:10]}-{result['versions'].get('weft', 'weft')}"
    return pathlib.Path(name).absolute() if "/" in name else RESULTS / name


def write(result, path, given):
    """The raw samples, the tables and the pictures, beside one another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    if not given.source:
        raw = path.with_name(path.name + ".json")
        raw.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        written.append(raw)
    drawn = []
    try:
        from . import pictures  # the one that needs matplotlib
    except ImportError:
        say("no pictures: matplotlib is not installed (apt install python3-matplotlib)")
    else:
        drawn = pictures.draw(result, path)
    text = report.markdown(result, drawn, path.parent)
    table = path.with_name(path.name + ".md")
    table.write_text(text, encoding="utf-8")
    if given.readme:
        readme = programs.BENCH / "README.md"
        inside = report.markdown(result, drawn, readme.parent, raw=path.with_name(path.name + ".json"))
        readme.write_text(report.between_markers(readme.read_text(encoding="utf-8"), inside), encoding="utf-8")
        written.append(readme)
    for file in [*written, table, *drawn]:
        say(f"wrote {file}")


def tell_skipped(skipped):
    for skip in skipped:
        say(f"skipped: {skip.what}: {skip.why}" + (f" (apt install {skip.package})" if skip.package else ""))


def run(given):
    if given.source:
        result = json.loads(pathlib.Path(given.source).read_text(encoding="utf-8"))
        write(result, output_path(given, result), given)
        return 0
    open_many_files()
    settings = settings_for(given)
    build = pathlib.Path(given.build) if given.build else programs.build_ours(say)
    have = programs.Programs(build, build_rivals=not given.smoke and not given.list, say=say)
    available, skipped = cases.all_cases(have, settings)
    chosen = [case for case in available if matches(case.id, given.only)]
    skipped = [skip for skip in skipped if matches(skip.what, given.only)]
    tell_skipped(skipped)
    if given.list:
        for case in chosen:
            print(case.id)
        return 0
    if not chosen:
        say(f"nothing matches {' '.join(given.only or [])}; --list tells what there is")
        return 2
    where = {"machine": machine.machine(), "versions": machine.versions(programs.SOURCE, have.build)}
    if where["machine"]["load_before"] > 0.3 * where["machine"]["cores"]:
        say(f"the machine is busy (load {where['machine']['load_before']}): the figures will be of little use")
    result = collect(chosen, settings, measure(chosen, settings), skipped, where)
    write(result, output_path(given, result), given)
    for failure in result["failures"]:
        say(f"FAILED: {failure['case']}: {failure['why']}")
    return 1 if result["failures"] else 0


def main(arguments=None):
    given = parse(arguments)

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(given)
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return 130
    finally:
        processes.end_all()

"""Two results: what got slower or faster from one to the other, beyond noise."""

import argparse
import json
import pathlib

from . import metrics


def changes(before, after, mads=3.0, share=0.05):
    """([(share for the worse, id, metric, before, after)], how many were judged, how many had too few samples)."""
    found = []
    judged = unjudged = 0
    later = {case["id"]: case["summary"] for case in after["cases"]}
    for case in before["cases"]:
        for name, old in case["summary"].items():
            new = later.get(case["id"], {}).get(name)
            more_is_better = metrics.METRICS.get(name, (name, None))[1]
            if new is None or more_is_better is None:
                continue
            change = metrics.beyond_noise(old, new, mads, share)
            if change is None:
                unjudged += 1
                continue
            judged += 1
            if change != 0:
                found.append((-change if more_is_better else change, case["id"], name, old["median"], new["median"]))
    return sorted(found, reverse=True), judged, unjudged


def describe(found):
    _, case, name, old, new = found
    return (f"  {case:<44} {metrics.METRICS[name][0]:<22} {metrics.short(old):>10} -> {metrics.short(new):>10}"
            f"  {(new / old - 1) * 100:+.1f} %")  # fmt: skip


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--mads", type=float, default=3.0, help="noise: so many MADs of either (3)")
    parser.add_argument("--percent", type=float, default=5.0, help="and at least so many per cent (5)")
    given = parser.parse_args(arguments)
    before, after = (json.loads(file.read_text(encoding="utf-8")) for file in (given.before, given.after))
    if any(before["machine"].get(part) != after["machine"].get(part) for part in ("cpu", "cores", "kernel")):
        print("beware: these are of different machines or kernels")

    found, judged, unjudged = changes(before, after, given.mads, given.percent / 100)
    slower = [change for change in found if change[0] > 0]
    faster = [change for change in reversed(found) if change[0] < 0]
    for heading, part in (("slower", slower), ("faster", faster)):
        if part:
            print(heading)
            print("\n".join(map(describe, part)))
    names = [{case["id"] for case in result["cases"]} for result in (before, after)]
    for heading, only in (("only before", names[0] - names[1]), ("only after", names[1] - names[0])):
        if only:
            print(f"{heading}: {', '.join(sorted(only))}")
    print(f"{judged} figures: {len(slower)} slower, {len(faster)} faster; {unjudged} with less than 3 samples not judged")
    return 1 if slower else 0

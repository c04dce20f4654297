"""Tables in Markdown, and where weft loses: all of it from the samples."""

import os
import statistics

from . import metrics

BEGIN = "<!-- figures: bench/run --readme writes what stands from here to the next mark -->"
END = "<!-- figures end -->"


def between_markers(text, inside):
    """`text` with `inside` between its markers. Raises ValueError where they are not."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers are missing")
    return f"{before}{BEGIN}\n\n{inside.strip()}\n\n{END}{after}"


def _cell(summary, name):
    if name not in summary:
        return ""
    value = summary[name]
    spread = f" ± {metrics.short(value['mad'])}" if value["count"] > 1 and value["mad"] else ""
    return metrics.short(value["median"]) + spread


def _table(heading, rows):
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _unique(values):
    return list(dict.fromkeys(values))


def of_scenario(result, scenario):
    return [case for case in result["cases"] if case["scenario"] == scenario and case["summary"]]


def _by_variant(cases, metric):
    """A row a variant, a column a system."""
    systems = _unique(case["system"] for case in cases)
    rows = []
    for variant in _unique(case["variant"] for case in cases):
        of = {case["system"]: case["summary"] for case in cases if case["variant"] == variant}
        rows.append([variant, *(_cell(of.get(system, {}), metric) for system in systems)])
    return _table([metrics.METRICS[metric][0], *systems], rows)


def _by_system(cases):
    """A row a system, a column a metric."""
    names = [name for name in metrics.METRICS if any(name in case["summary"] for case in cases)]
    rows = [[case["system"], *(_cell(case["summary"], name) for name in names)] for case in cases]
    return _table(["system", *(metrics.METRICS[name][0] for name in names)], rows)


def _micro(result):
    cases = [case for case in result["cases"] if case["scenario"].startswith("micro/") and case["summary"]]
    systems = sorted(_unique(case["system"] for case in cases), key=lambda name: name != "weft")
    rows = []
    for scenario, variant in _unique((case["scenario"], case["variant"]) for case in cases):
        of = {case["system"]: case["summary"] for case in cases
              if (case["scenario"], case["variant"]) == (scenario, variant)}  # fmt: skip
        name = scenario.removeprefix("micro/") + (f" ({variant})" if variant else "")
        row = [name, *(_cell(of.get(system, {}), "ns") for system in systems)]
        bytes_too = next((_cell(summary, "bytes") for summary in of.values() if "bytes" in summary), "")
        rows.append([*row, bytes_too])
    return _table(["ns an operation", *systems, "B (the first)"], rows) if rows else ""


# p99 stands for its neighbours.
_LOST_IN = ("requests_per_s", "heavy_per_s", "p99_us", "cpu_us_per_request", "bytes_per_connection", "seconds", "ns", "bytes")


def losses(result):
    """[(factor, scenario and variant, metric, rival)] where a rival was better than weft beyond noise: the worst first.
    What has too few samples to tell counts too: better too much than too little."""
    found = []
    weft = {(case["scenario"], case["variant"]): case["summary"] for case in result["cases"] if case["system"] == "weft"}
    for case in result["cases"]:
        ours = weft.get((case["scenario"], case["variant"]))
        if case["system"].startswith("weft") or ours is None:  # weft, or weft with a choice that is not its default
            continue
        for name, theirs in case["summary"].items():
            more_is_better = metrics.METRICS[name][1]
            mine = ours.get(name)
            if name not in _LOST_IN or mine is None:
                continue
            if not mine["median"] or not theirs["median"]:
                continue
            if metrics.beyond_noise(mine, theirs) == 0:
                continue
            ratio = theirs["median"] / mine["median"] if more_is_better else mine["median"] / theirs["median"]
            if ratio > 1.05:
                place = f"{case['scenario']} {case['variant']}".strip()
                found.append((ratio, place, name, case["system"]))
    return sorted(found, reverse=True)


def _losses(result):
    found = losses(result)
    if not found:
        return "In nothing measured here, beyond noise."
    few = max(len(case["samples"]) for case in result["cases"]) < 3
    before = "There are too few samples to tell losses from noise.\n\n" if few else ""
    worst = {}  # of each place and metric: the best rival
    for ratio, place, name, rival in found:
        worst.setdefault((place, name), (ratio, rival))
    rows = [[place, metrics.METRICS[name][0], rival, f"{ratio:.2f}"] for (place, name), (ratio, rival) in worst.items()]
    return before + _table(["where", "what", "the best is", "better by a factor of"], rows)


def _machine(result):
    here = result["machine"]
    parts = [here["cpu"], f"{here['cores']} cores"]
    parts += [f"{here['memory_gib']} GiB"] if here.get("memory_gib") else []
    parts += [f"Linux {here['kernel']}"]
    parts += [f"governor {here['governor']}"] if here.get("governor") else []
    built = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"Machine: {', '.join(parts)}. Versions: {built}."


BESIDE = (
    "*p99*: of small requests, as a multiple of what it is with no heavy ones. *heavy*: heavy requests a second, as a "
    "share of what could be: of the same server's with no small ones, in that part of the cores which small requests at "
    "the rate of the run take neither in the server nor in the load, by their CPU time with no heavy ones."
)


def _beside_one_another(cases):
    """For each system and form, from the cases with one kind of request only; empty where there are none."""
    found = {(case["system"], case["variant"]): case["samples"] for case in cases}

    def median(system, variant, name):
        values = [sample[name] for sample in found.get((system, variant), ()) if name in sample]
        return statistics.median(values) if values else None

    rows = []
    for system in _unique(case["system"] for case in cases):
        for form in ("closed", "open"):
            alone = f"{form}, no heavy"
            figures = {name: (median(system, form, name), median(system, alone, name))
                       for name in ("p99_us", "small_per_s", "cpu_share", "load_cpu_share")}  # fmt: skip
            heavy = median(system, form, "heavy_per_s"), median(system, "heavy only", "heavy_per_s")
            cores = median(system, "heavy only", "cpu_share")
            if None in heavy or not cores or any(None in pair for pair in figures.values()):
                continue
            rate = figures["small_per_s"][0] / figures["small_per_s"][1]
            taken = (figures["cpu_share"][1] + figures["load_cpu_share"][1]) * rate
            left = max(0.0, cores - taken) / cores
            rows.append([system, form, metrics.short(figures["p99_us"][0] / figures["p99_us"][1]),
                         metrics.short(heavy[0] / (heavy[1] * left)) if left else ""])  # fmt: skip
    return _table(["system", "form", "p99", "heavy"], rows) if rows else ""


def markdown(result, pictures, folder, raw=None):
    """`pictures` and `raw` are linked to as seen from `folder`."""
    link = lambda file: os.path.relpath(file, folder)
    repeats = max((len(case["samples"]) for case in result["cases"]), default=0)
    text = [f"Measured {result['date'][:10]}, {repeats} samples each at most: median ± MAD (the median of the distances "
            f"from the median). {_machine(result)}"]  # fmt: skip
    if result["machine"]["load_before"] > 0.3 * result["machine"]["cores"]:
        text.append(f"**The machine was busy with other work (load {result['machine']['load_before']}).**")
    if raw:
        text.append(f"Every sample: [{raw.name}]({link(raw)}).")
    text += [f"![{picture.stem.rpartition('-')[2]}]({link(picture)})" for picture in pictures]

    for scenario, title in (("echo", "TCP echo"), ("echo_tls", "TLS echo"), ("churn", "A connection for each message"),
                            ("streaming", "Answers of 4 MiB"), ("http", "HTTP")):  # fmt: skip
        cases = of_scenario(result, scenario)
        if not cases:
            continue
        text += [f"### {title}: requests a second", _by_variant(cases, "requests_per_s")]
        text += [f"### {title}: 99 of 100 answers came within", _by_variant(cases, "p99_us")]
        for variant in _unique(case["variant"] for case in cases):
            if any("system_calls_per_request" in case["summary"] for case in cases if case["variant"] == variant):
                text += [f"### {title}, {variant}: all figures"]
                text += [_by_system([case for case in cases if case["variant"] == variant])]
        if any("c10000" in case["variant"] for case in cases):
            text += [f"### {title}: memory of a connection", _by_variant(cases, "bytes_per_connection")]
    cases = of_scenario(result, "mixed")
    for variant in _unique(case["variant"] for case in cases):
        text += [f"### Mixed load, {variant}", _by_system([case for case in cases if case["variant"] == variant])]
    if table := _beside_one_another(cases):
        text += ["### Mixed load: what small and heavy requests do to one another", BESIDE, table]
    if cases := of_scenario(result, "producer_consumer"):
        text += ["### Producers and consumers", _by_variant(cases, "seconds")]
    if cases := of_scenario(result, "sleepers"):
        text += ["### Sleeping fibers, each", _by_system(cases)]
    if table := _micro(result):
        text += ["### Small things", table]
    text += ["### Where weft loses", _losses(result)]
    if result["skipped"]:
        rows = [[skip["what"], skip["why"], skip["package"] or ""] for skip in result["skipped"]]
        text += ["### Skipped", _table(["what", "why", "package"], rows)]
    if result["failures"]:
        text += ["### Failed", _table(["case", "why"], [[f["case"], f["why"]] for f in result["failures"]])]
    return "\n\n".join(text) + "\n"

"""SVG pictures of a result. The only module that needs matplotlib."""

import math

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402: the backend comes first

from . import metrics, report

matplotlib.rcParams.update({"svg.hashsalt": "weft", "axes.spines.top": False, "axes.spines.right": False,
                            "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3, "font.size": 9,
                            "legend.frameon": False, "figure.constrained_layout.use": True})  # fmt: skip

COLOURS = {"weft": "#d62728", "weft_realtime": "#ff9896", "epoll": "#222222", "asio_callbacks": "#1f77b4", "asio_awaitable": "#6baed6",
           "asio_inline": "#6baed6", "asio_pool": "#1f77b4",
           "asio_pool_nice19": "#08306b", "go": "#17becf", "tokio": "#ff7f0e",
           "asyncio": "#2ca02c"}  # fmt: skip


def _colour(system):
    return COLOURS.get(system, "#9467bd")


def _save(figure, path, name):
    file = path.with_name(f"{path.name}-{name}.svg")
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return file


def _variant(case):
    """{"c": connections, "t": threads, "bytes": text} of "64B/c50/t1"."""
    parts = {}
    for part in case["variant"].split("/"):
        if part[:1] in "ct" and part[1:].isdigit():
            parts[part[0]] = int(part[1:])
        else:
            parts["bytes"] = part
    return parts


def _is_middle(case):
    """One thread, and a usual number of connections (10 in a smoke run)."""
    variant = _variant(case)
    return variant.get("t") == 1 and variant.get("c") in (10, 50)


def _grouped(cases, key):
    groups = {}
    for case in cases:
        groups.setdefault(key(case), []).append(case)
    return groups


def _bars(axes, cases, metric, title):
    """One bar a system, with its MAD."""
    for row, case in enumerate(reversed(cases)):
        value = case["summary"][metric]
        axes.barh(row, value["median"], xerr=value["mad"], color=_colour(case["system"]), capsize=2)
        end = value["median"] + value["mad"]
        axes.annotate("  " + metrics.short(value["median"]), (end, row), va="center", fontsize=8)
    axes.set_yticks(range(len(cases)), [case["system"] for case in reversed(cases)])
    axes.set_title(title)
    axes.set_xlabel(metrics.METRICS[metric][0])
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)


def _row_of_axes(count, height=3.2, width=4.6):
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return figure, axes[0]


def _legend(figure, axes):
    """One for all axes, beside them: not each has every system."""
    lines = {}
    for at in axes:
        for line, system in zip(*at.get_legend_handles_labels()):
            lines.setdefault(system, line)
    figure.legend(lines.values(), lines.keys(), loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)


def _throughput(result, path):
    groups = {}
    for scenario in ("echo", "http"):
        cases = report.of_scenario(result, scenario)
        for variant, group in _grouped(filter(_is_middle, cases), lambda case: case["variant"]).items():
            groups[f"{scenario} {variant}"] = group
    if not groups:
        return []
    figure, axes = _row_of_axes(len(groups))
    for at, (title, group) in zip(axes, groups.items()):
        _bars(at, group, "requests_per_s", title)
    return [_save(figure, path, "throughput")]


def _scaling(result, path, key, label, keep):
    """Requests a second by connections or by threads: a line a system."""
    panels = []
    for scenario in ("echo", "http"):
        for size, cases in _grouped(report.of_scenario(result, scenario), lambda c: _variant(c).get("bytes", "")).items():
            kept = [case for case in cases if keep(_variant(case), cases)]
            if len({_variant(case)[key] for case in kept}) > 1:
                panels.append((f"{scenario} {size}".strip(), kept))
    if not panels:
        return []
    figure, axes = _row_of_axes(len(panels))
    for at, (title, cases) in zip(axes, panels):
        for system, group in _grouped(cases, lambda case: case["system"]).items():
            points = sorted((_variant(case)[key], case["summary"]["requests_per_s"]) for case in group)
            at.errorbar([x for x, _ in points], [value["median"] for _, value in points],
                        yerr=[value["mad"] for _, value in points], label=system, color=_colour(system), marker="o",
                        markersize=3, capsize=2)  # fmt: skip
        at.set_title(title)
        at.set_xlabel(label)
        ticks = sorted({_variant(case)[key] for case in cases})
        at.set_xscale("log")
        at.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        at.minorticks_off()
        at.set_ylim(bottom=0)
    axes[0].set_ylabel("requests/s")
    _legend(figure, axes)
    return [_save(figure, path, {"c": "connections", "t": "cores"}[key])]


def _by_connections(result, path):
    return _scaling(result, path, "c", "connections", lambda variant, _: variant.get("t") == 1)


def _by_cores(result, path):
    def keep(variant, all_cases):
        several = {_variant(case)["c"] for case in all_cases if _variant(case)["t"] > 1}
        return variant["c"] in several

    return _scaling(result, path, "t", "threads of the server", keep)


def _curve(case):
    """[(nines, microseconds)]: of each share the median over the samples."""
    curves = [sample["latency_us"] for sample in case["samples"] if "latency_us" in sample]
    if not curves:
        return []
    middle = lambda values: sorted(values)[len(values) // 2]
    return [(-math.log10(1 - curves[0][i][0]), middle([curve[i][1] for curve in curves]))
            for i in range(len(curves[0])) if curves[0][i][0] < 1]  # fmt: skip


def _latencies(result, path, scenario, name, keep):
    groups = _grouped([case for case in report.of_scenario(result, scenario) if keep(case)], lambda c: c["variant"])
    if not groups:
        return []
    figure, axes = _row_of_axes(len(groups))
    for at, (variant, cases) in zip(axes, groups.items()):
        for case in cases:
            if curve := _curve(case):
                at.plot(*zip(*curve), label=case["system"], color=_colour(case["system"]))
        at.set_title(f"{scenario} {variant}")
        at.set_yscale("log")
        at.set_xticks([0, 1, 2, 3], ["least", "90 %", "99 %", "99.9 %"])
        at.set_xlabel("share of the requests")
    axes[0].set_ylabel("answered within, µs")
    _legend(figure, axes)
    return [_save(figure, path, name)]


def _is_mixed(case):
    return case["variant"] in ("closed", "open")


def _mixed_bars(result, path):
    cases = [case for case in report.of_scenario(result, "mixed") if _is_mixed(case)]
    groups = _grouped(cases, lambda case: case["variant"])
    if not groups:
        return []
    figure, axes = _row_of_axes(2 * len(groups))
    for i, (variant, cases) in enumerate(groups.items()):
        _bars(axes[2 * i], cases, "p99_us", f"mixed, {variant}: small requests")
        _bars(axes[2 * i + 1], cases, "heavy_per_s", f"mixed, {variant}: heavy requests")
    return [_save(figure, path, "mixed")]


def _producers(result, path):
    groups = _grouped(report.of_scenario(result, "producer_consumer"), lambda case: case["variant"])
    if not groups:
        return []
    figure, axes = _row_of_axes(len(groups), height=1.8)
    for at, (variant, cases) in zip(axes, groups.items()):
        _bars(at, cases, "seconds", variant)
    return [_save(figure, path, "producer-consumer")]


def _micro(result, path):
    """Where there are rivals: how long they take, weft being 1."""
    groups = _grouped([case for case in result["cases"] if case["scenario"].startswith("micro/") and case["summary"]],
                      lambda case: (case["scenario"], case["variant"]))  # fmt: skip
    rows = []
    for (scenario, variant), cases in groups.items():
        ours = next((case["summary"]["ns"]["median"] for case in cases if case["system"] == "weft"), 0)
        rivals = [(case["system"], case["summary"]["ns"]["median"] / ours) for case in cases
                  if ours and case["system"] != "weft"]  # fmt: skip
        if rivals:
            rows.append((scenario.removeprefix("micro/") + (f" {variant}" if variant else ""), rivals))
    if not rows:
        return []
    systems = sorted({system for _, rivals in rows for system, _ in rivals})
    colours = dict(zip(systems, plt.get_cmap("tab10").colors * 3))
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.3 * len(rows)))
    for row, (_, rivals) in enumerate(reversed(rows)):
        for system, ratio in rivals:
            axes.plot(ratio, row, "o", color=colours[system])
    for system in systems:
        axes.plot([], [], "o", color=colours[system], label=system)
    axes.axvline(1, color=_colour("weft"), label="weft")
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.set_xscale("log")
    axes.set_xlabel("time, weft's being 1: to the right of the line the rival is slower")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return [_save(figure, path, "micro")]


def draw(result, path):
    """Draws what there are figures for, and gives the files."""
    return [
        *_throughput(result, path),
        *_by_connections(result, path),
        *_by_cores(result, path),
        *_latencies(result, path, "echo", "echo-latency", _is_middle),
        *_latencies(result, path, "http", "http-latency", _is_middle),
        *_mixed_bars(result, path),
        *_latencies(result, path, "mixed", "mixed-latency", _is_mixed),
        *_producers(result, path),
        *_micro(result, path),
    ]

"""Names, units and directions of what is measured; median and MAD."""

import statistics

# name: (heading, more is better; None: neither is)
METRICS = {
    "requests_per_s": ("requests/s", True),
    "heavy_per_s": ("heavy/s", True),
    "small_per_s": ("small/s", None),  # open: as asked for; closed: what the latency leaves room for
    "p50_us": ("p50 µs", False),
    "p99_us": ("p99 µs", False),
    "p999_us": ("p99.9 µs", False),
    "heavy_p50_ms": ("heavy p50 ms", False),
    "cpu_us_per_request": ("CPU µs/request", False),
    "cpu_share": ("cores used", None),  # more work takes more
    "system_calls_per_request": ("system calls/request", False),
    "bytes_per_connection": ("B/connection", False),
    "seconds": ("seconds", False),
    "ns": ("ns", False),
    "bytes": ("B", False),
    "page_table_bytes": ("page tables B", False),
    "cpu_us": ("CPU µs", False),
}

# What a scenario is about, where a picture or table has room for one.
HEADLINES = ("requests_per_s", "p99_us", "seconds", "ns", "bytes")


def headline(summary):
    """The metric that a case is about. In the mixed load that is the small requests' latency, not their number."""
    return next((name for name in HEADLINES if name in summary), None)


def mad(values):
    """The median of the distances from the median."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


def summarize(samples):
    """Of dicts of numbers: {metric: {median, mad, count}}, for the metrics that are known."""
    summary = {}
    for name in METRICS:
        values = [sample[name] for sample in samples if isinstance(sample.get(name), (int, float))]
        if values:
            summary[name] = {"median": statistics.median(values), "mad": mad(values), "count": len(values)}
    return summary


def beyond_noise(before, after, mads=3.0, share=0.05):
    """How much larger `after` is than `before`, as a share of it; 0 where that may be noise, and None where there are
    too few samples to tell."""
    if min(before["count"], after["count"]) < 3:
        return None
    difference = after["median"] - before["median"]
    noise = max(mads * before["mad"], mads * after["mad"], share * abs(before["median"]))
    return difference / before["median"] if abs(difference) > noise and before["median"] else 0.0


def short(value):
    """A number as a table shows it: three digits or four."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"

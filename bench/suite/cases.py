"""What there is to measure: a case is one system in one variant of one scenario. Measuring it once gives a sample, a
dict of numbers, from a process that was started for it; an answer that is wrong raises processes.Failed."""

import dataclasses
import functools
import json
import random
import re
import resource
import shutil
import typing

from . import processes
from .machine import usable_cores
from .programs import Missing

SPARE_DESCRIPTORS = 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much of everything."""

    seconds: float  # the measured part of a network load
    mixed_seconds: float
    micro_seconds: float
    repeat: int
    connections: tuple = (1, 50, 1_000, 10_000)
    http_connections: tuple = (1, 50, 1_000)
    items: int = 60  # of the producers and consumers
    kinds: int = 16  # of heavy requests, each worked out beforehand
    sleepers: int = 1_000_000
    micro_scale: float = 1  # of what is a million in a micro benchmark
    every_variant: bool = True
    budget: float = float("inf")  # seconds, after which no round is begun


FULL = Settings(seconds=1.0, mixed_seconds=1.25, micro_seconds=0.3, repeat=5)
QUICK = Settings(seconds=0.15, mixed_seconds=0.5, micro_seconds=0.02, repeat=3, items=20, kinds=8, sleepers=50_000,
                 micro_scale=0.05, budget=265)
SMOKE = Settings(seconds=0.04, mixed_seconds=0.1, micro_seconds=0.001, repeat=1, connections=(10,),
                 http_connections=(10,), items=10, kinds=2, sleepers=10_000, micro_scale=0.01, every_variant=False)


@dataclasses.dataclass
class Case:
    scenario: str
    system: str
    variant: str  # may be empty
    measure: typing.Callable[[], dict]
    expected: float  # seconds a sample; the first one corrects it
    most: int = 1_000  # samples
    count_calls: typing.Callable[[], dict] | None = None  # system calls a request, by name

    @property
    def id(self):
        return "/".join(part for part in (self.scenario, self.system, self.variant) if part)


@dataclasses.dataclass(frozen=True)
class Skipped:
    what: str
    why: str
    package: str | None = None


# Nothing to install: there is no such thing.
IMPOSSIBLE = (
    Skipped("echo/boost_fiber", "Boost.Fiber has no sockets; its documentation shows a scheduler for Boost.Asio as an "
                                "example to copy, which would be a rival of our own making"),
    Skipped("http/tokio", "Tokio has no HTTP server of its own; hyper would be another rival"),
)  # fmt: skip


def thread_counts():
    """1, 2, 4 ... up to the cores."""
    counts = []
    threads = 1
    while threads <= usable_cores():
        counts.append(threads)
        threads *= 2
    return counts


def all_cases(programs, settings):
    """([Case], [Skipped]): rivals of one variant beside one another, for that is the order of measuring."""
    cases = []
    skipped = list(IMPOSSIBLE)
    for scenario in (_echo, _echo_tls, _churn, _streaming, _http, _mixed, _producer_consumer, _sleepers, _micro):
        for case in scenario(programs, settings, skipped):
            cases.append(case)
    order = {}
    for case in cases:
        order.setdefault((case.scenario, case.variant), len(order))
    cases.sort(key=lambda case: order[case.scenario, case.variant])
    return cases, skipped


def _rivals(programs, workload, skipped):
    for system in programs.systems(workload):
        try:
            yield system, programs.command(workload, system)
        except Missing as missing:
            skipped.append(Skipped(f"{workload}/{system}", str(missing), missing.package))


def _load_of(programs, workload, skipped):
    try:
        return programs.path(workload, "load")
    except Missing as missing:
        skipped.append(Skipped(workload, str(missing)))
        return None


# --- echo and http: a closed load ---


def _under_load(command, threads, load):
    """A sample: a server of its own, loaded once."""
    with processes.server(command, threads) as server:
        options = ["--port", server.port, "--pid", server.pid]
        return json.loads(processes.output_of([*load, *options], timeout=120))


def _calls_under_load(command, threads, load):
    with processes.server(command, threads) as server:
        return processes.system_calls(server, [*load, "--port", server.port])[1]


def _closed(programs, settings, skipped, workload, variants, scenario=None):
    scenario = scenario or workload
    load = _load_of(programs, workload, skipped)
    if load is None:
        return
    traced = shutil.which("strace") is not None
    if not traced:
        skipped.append(Skipped(f"{workload}: system calls a request", "strace is not installed", "strace"))
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for system, command in _rivals(programs, workload, skipped):
        for name, connections, threads, extra, counted in variants:
            if threads > 1 and system == "asyncio":
                continue  # has one thread, whatever is asked
            if connections + SPARE_DESCRIPTORS > most_files:
                skipped.append(Skipped(f"{scenario}/{system}/{name}", f"a process may open {most_files} files only "
                                                                      "(ulimit -n)"))  # fmt: skip
                continue
            helpers = max(1, min(4, usable_cores() - threads))
            options = [load, "--connections", connections, "--threads", helpers, "--seconds", settings.seconds, *extra]
            expected = settings.seconds * 1.2 + 0.2 + connections / 5_000
            count = functools.partial(_calls_under_load, command, threads, options) if counted and traced else None
            yield Case(scenario, system, name, functools.partial(_under_load, command, threads, options), expected,
                       count_calls=count)  # fmt: skip


def _echo(programs, settings, skipped):
    variants = []
    for size, text in ((64, "64B"), (16 * 1024, "16KiB")):
        for connections in settings.connections:
            counted = connections in (10, 50)
            variants.append((f"{text}/c{connections}/t1", connections, 1, ["--bytes", size], counted))
    middle = 50 if 50 in settings.connections else settings.connections[0]
    for threads in thread_counts()[1:]:
        variants.append((f"64B/c{middle}/t{threads}", middle, threads, ["--bytes", 64], False))
    yield from _closed(programs, settings, skipped, "echo", variants)


def _echo_tls(programs, settings, skipped):
    few = settings.connections[:2]
    variants = [(f"{text}/c{connections}/t1", connections, 1, ["--bytes", size], connections in (10, 50))
                for size, text in ((64, "64B"), (16 * 1024, "16KiB")) for connections in few]  # fmt: skip
    yield from _closed(programs, settings, skipped, "echo_tls", variants)


def _churn(programs, settings, skipped):
    """The servers of echo, and a connection for each message."""
    connections = 50 if 50 in settings.connections else settings.connections[0]
    variants = [(f"c{connections}/t1", connections, 1, ["--fresh", 1], True)]
    yield from _closed(programs, settings, skipped, "echo", variants, "churn")


def _streaming(programs, settings, skipped):
    variants = [(f"4MiB/c{connections}/t1", connections, 1, [], connections in (10, 50))
                for connections in settings.connections[:2]]  # fmt: skip
    yield from _closed(programs, settings, skipped, "streaming", variants)


def _http(programs, settings, skipped):
    variants = [(f"c{connections}/t1", connections, 1, [], connections in (10, 50))
                for connections in settings.http_connections]  # fmt: skip
    middle = 50 if 50 in settings.http_connections else settings.http_connections[0]
    variants += [(f"c{middle}/t{threads}", middle, threads, [], False) for threads in thread_counts()[1:]]
    yield from _closed(programs, settings, skipped, "http", variants)


# --- mixed ---


def _mixed(programs, settings, skipped):
    load = _load_of(programs, "mixed", skipped)
    if load is None:
        return
    for system, command in _rivals(programs, "mixed", skipped):
        forms = [("closed", 0, 64, 4), ("open", 5_000, 64, 4)]
        if settings.every_variant:  # what there is without one another; it varies less
            forms += [("closed, no heavy", 0, 64, 0), ("open, no heavy", 5_000, 64, 0), ("heavy only", 0, 0, 4)]
        for form, rate, small, heavy in forms:
            options = [load, "--seconds", settings.mixed_seconds, "--open", rate, "--kinds", settings.kinds,
                       "--connections", small, "--heavy", heavy]  # fmt: skip
            measure = functools.partial(_under_load, command, usable_cores(), options)
            both = small > 0 and heavy > 0
            yield Case("mixed", system, form, measure, settings.mixed_seconds * 1.2 + 0.5, most=1_000 if both else 3)


# --- producers and consumers ---


def draw_items(count, seed=1):
    """[(number, ms until it arrives, ms that its result takes)]: from networks, databases and files."""
    drawn = random.Random(seed)
    arrivals = ((10, 60), (5, 30), (1, 10))
    return [(drawn.randint(1, 1_000_000), drawn.randint(*drawn.choice(arrivals)), drawn.randint(10, 30))
            for _ in range(count)]  # fmt: skip


def digit_squares(number):
    return sum(int(digit) ** 2 for digit in str(number))


def _measure_set_ups(command, items):
    text = "".join(f"{number} {arrival} {departure}\n" for number, arrival, departure in items)
    right = sum(digit_squares(number) for number, _, _ in items)
    found = [json.loads(line) for line in processes.output_of(command, 120, text).splitlines()]
    for set_up in found:
        if set_up["sum"] != right:
            raise processes.Failed(f"{set_up['set_up']}: the sum is {set_up['sum']}, not {right}")
    return {set_up["set_up"]: {"seconds": set_up["seconds"]} for set_up in found}


def _producer_consumer(programs, settings, skipped):
    items = draw_items(settings.items)
    wait = sum(arrival + departure for _, arrival, departure in items) / 1000
    for system, command in _rivals(programs, "producer_consumer", skipped):
        # One run measures the three set-ups; the first of them to be asked for runs it.
        shared = _Shared(functools.partial(_measure_set_ups, command, items))
        for set_up in ("synchronous", "2-producers-1-consumer", "2-producers-3-consumers"):
            expected = wait * 2 if set_up == "synchronous" else 0.01
            yield Case("producer_consumer", system, set_up, functools.partial(shared.take, set_up), expected)


class _Shared:
    """Results of one run that are taken one by one; each may be taken once, then it is run again."""

    def __init__(self, run):
        self._run = run
        self._left = {}

    def take(self, name):
        if name not in self._left:
            self._left = self._run()
        if name not in self._left:
            raise processes.Failed(f"no result for {name}")
        return self._left.pop(name)


# --- sleepers ---


def _sleepers(programs, settings, skipped):
    try:
        program = programs.path("sleepers", "sleepers")
    except Missing as missing:
        skipped.append(Skipped("sleepers", str(missing)))
        return
    command = [program, settings.sleepers]
    yield Case("sleepers", "weft", str(settings.sleepers), lambda: json.loads(processes.output_of(command, 120)),
               settings.sleepers / 50_000 + 2, most=3)  # fmt: skip


# --- micro ---

_TIME_UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
# What Google Benchmark appends to names, and is no part of ours.
_APPENDED = re.compile(r"/(real_time|process_time|manual_time|(iterations|repeats|min_time|min_warmup_time):[^/]*)")


def split_micro_name(name):
    """(scenario, system, variant) of `<scenario>/<system>[/<variant>]`; a name of one part is weft's own."""
    parts = _APPENDED.sub("", name).split("/")
    return f"micro/{parts[0]}", parts[1] if len(parts) > 1 else "weft", "/".join(parts[2:])


def _output_of_micro(command, settings):
    return json.loads(processes.output_of(command, 120, WEFT_BENCH_SCALE=str(settings.micro_scale)))


def _measure_micro(program, name, settings):
    command = [program, f"--benchmark_filter=^{re.escape(name)}$", "--benchmark_format=json",
               f"--benchmark_min_time={settings.micro_seconds}"]  # fmt: skip
    found = [run for run in _output_of_micro(command, settings)["benchmarks"]
             if run.get("run_type", "iteration") == "iteration"]  # fmt: skip
    if len(found) != 1:
        raise processes.Failed(f"{len(found)} benchmarks are named {name}")
    return read_micro(found[0])


def read_micro(run):
    """A sample of one of Google Benchmark's entries: its counter `ns`, else its own time."""
    if run.get("error_occurred"):
        raise processes.Failed(run.get("error_message", "it reports an error"))
    sample = {"ns": run["ns"] if "ns" in run else run["real_time"] * _TIME_UNITS[run["time_unit"]]}
    if "bytes" in run:
        sample["bytes"] = run["bytes"]
    return sample


def _micro(programs, settings, skipped):
    yield from _micro_of_ours(programs, settings, skipped)
    # In other languages; each says without arguments what it has.
    for system in programs.systems("micro"):
        try:
            command = programs.command("micro", system)
        except Missing as missing:
            skipped.append(Skipped(f"micro/{system}", str(missing), missing.package))
            continue
        for name in processes.output_of(command, 20).split():
            yield Case(f"micro/{name}", system, "",
                       functools.partial(_output_of_micro, [*command, name, settings.micro_seconds], settings),
                       settings.micro_seconds * 2.5 + 0.05)  # fmt: skip


def _micro_of_ours(programs, settings, skipped):
    try:
        program = programs.micro()
    except Missing as missing:
        skipped.append(Skipped("micro", str(missing)))
        return
    seen = set()
    for name in processes.output_of([program, "--benchmark_list_tests"], 20).split("\n"):
        if not name:
            continue
        scenario, system, variant = split_micro_name(name)
        if not settings.every_variant and (scenario, system) in seen:
            continue
        seen.add((scenario, system))
        yield Case(scenario, system, variant, functools.partial(_measure_micro, program, name, settings),
                   settings.micro_seconds * 1.5 + 0.05)  # fmt: skip

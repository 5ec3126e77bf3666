"""Rounds of measurements, engines in turn."""

import sys
from dataclasses import dataclass, field
from statistics import median, quantiles

from tests.benchmarks.processes import PeakMemory

# Run first, unmeasured: as many as any engine has in hand at a time, so that what it starts for
# them is there.
WARM_UP = 50


@dataclass(slots=True)
class Result:
    """Of one engine on one workload. Seconds, bytes; None: it is not known."""

    engine: str
    workload: str
    n: int
    drains: list[float] = field(default_factory=list)
    throughs: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak_memory: int | None = None
    transactions: float | None = None
    size: float | None = None

    @property
    def drained_in(self):
        return median(self.drains)

    @property
    def through_in(self):
        return median(self.throughs)

    def latency(self, percent):
        if len(self.latencies) < 2:
            return None
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def measure(engines, workload, n, rounds, with_latency):
    """The result of each engine, on the databases that they have."""
    results = [Result(engine.name, workload.name, n) for engine in engines]
    sizes = [_size(engine) for engine in engines]
    for number in range(rounds):
        for engine, result in zip(engines, results, strict=True):
            _say(f"{workload.name}, round {number + 1} of {rounds}: {engine.name}")
            _measure_once(engine, workload, result, with_latency)
    for engine, result, (before, finished) in zip(engines, results, sizes, strict=True):
        result.peak_memory = _peak_memory(engine, workload, n)
        if engine.database and engine.database.counts_commits:
            result.transactions = engine.transactions(workload, n) / n
        after, in_all = _size(engine)
        if after is not None:
            result.size = (after - before) / (in_all - finished)
    _say("")
    return results


def _measure_once(engine, workload, result, with_latency):
    with engine.working() as tree:
        engine.drain(tree, workload, min(result.n, WARM_UP))
        result.drains.append(engine.drain(tree, workload, result.n))
        result.throughs.append(engine.through(tree, workload, result.n))
        if with_latency:
            result.latencies += engine.latencies(tree, workload, workload.looks)


def _peak_memory(engine, workload, n):
    """Not while the time is taken: to look at many processes is work."""
    with engine.working() as tree, PeakMemory(tree) as memory:
        engine.drain(tree, workload, n)
    return memory.peak


def _size(engine):
    engine.disconnect()
    return engine.database.size() if engine.database else None, engine.finished


def _say(text):
    if sys.stderr.isatty():
        print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)

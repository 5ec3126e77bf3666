"""Results for people and for programs."""

import os
import platform
from pathlib import Path

from tests.benchmarks.workloads import WORKLOADS


def machine(engines, load):
    """Where it ran, and with what; `load`: of the machine before."""
    versions = {}
    for engine in engines:
        versions |= engine.versions()
        if engine.database:
            versions["database"] = engine.database.version()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        **versions,
    }


def as_data(results):
    """For each workload the figures of each engine, and how much better the first is."""
    groups = {}
    for result in results:
        groups.setdefault(result.workload, []).append(result)
    return [
        {
            "workload": name,
            "title": WORKLOADS[name].title,
            "n": group[0].n,
            "unit": WORKLOADS[name].unit,
            "engines": {result.engine: _figures(result) for result in group},
            "ratio": _ratios(group),
        }
        for name, group in groups.items()
    ]


def as_text(where, workloads):
    lines = [", ".join(f"{name} {value}" for name, value in where.items()), ""]
    for group in workloads:
        lines += _table(group)
        lines.append("")
    return "\n".join(lines)


def _figures(result):
    workload = WORKLOADS[result.workload]
    figures = {
        "drain": workload.rate(result.n, result.drained_in),
        "with submits": workload.rate(result.n, result.through_in),
        "latency p50 ms": _milliseconds(result.latency(50)),
        "latency p95 ms": _milliseconds(result.latency(95)),
        "transactions per workflow": result.transactions,
        "bytes per workflow": result.size,
        "peak memory MB": result.peak_memory and result.peak_memory / 1e6,
    }
    return {
        name: _three_figures(value) if value is not None else None
        for name, value in figures.items()
    }


def _ratios(group):
    """More than 1 where the first is better."""
    if len(group) < 2:
        return {}
    first, second = (_figures(result) for result in group)
    ratios = {}
    for name in first:
        ours, theirs = first[name], second[name]
        if ours and theirs:
            ratios[name] = round(ours / theirs if name in _MORE_IS_BETTER else theirs / ours, 2)
    return ratios


_MORE_IS_BETTER = {"drain", "with submits"}


def _table(group):
    engines, ratio = group["engines"], group["ratio"]
    head = [f"{group['workload']}: {group['title']}; {group['n']} at a time", *engines]
    rows = [head + (["ratio"] if ratio else [])]
    for name in next(iter(engines.values())):
        values = [figures[name] for figures in engines.values()]
        if all(value is None for value in values):
            continue
        label = f"{name}, {group['unit']}" if name in _MORE_IS_BETTER else name
        row = [label, *("-" if value is None else f"{value:,}" for value in values)]
        if ratio:
            row.append(f"{ratio[name]:.2f}x" if name in ratio else "")
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) + bool(ratio))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _milliseconds(seconds):
    return None if seconds is None else seconds * 1000


def _three_figures(value):
    return round(value) if value >= 100 else float(f"{value:.3g}")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

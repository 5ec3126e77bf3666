"""That the benchmarks run, and compare what they should; never how fast anything is."""

import json
import subprocess
import sys

from tests.benchmarks import report
from tests.benchmarks.measure import Result
from tests.documents import ROOT


def run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_benchmark_runs():
    done = run("tests.benchmarks", *"--workload W2 --n 2 --rounds 1 --latency --json".split())
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["where"]["database"].startswith("SQLite 3.")
    (group,) = found["workloads"]
    assert (group["workload"], group["n"], group["unit"]) == ("W2", 2, "workflows/s")
    assert group["ratio"] == {}
    figures = group["engines"]["durable_monty"]
    assert figures.pop("transactions per workflow") is None
    assert all(value > 0 for value in figures.values()), figures


def test_starts_runs():
    done = run("tests.benchmarks.starts", *"--n 20 --rounds 1 --json".split())
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found) == {"plain", "with a key"}
    assert all(value > 0 for figures in found.values() for value in figures.values())


def test_flat_runs():
    arguments = "--calls 20 --sleepers 30 --n 2 --rounds 1 --json"
    done = run("tests.benchmarks.flat", *arguments.split())
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["history"]["calls"] == 20
    assert found["sleepers"]["sleepers"] == 30
    assert found["sleepers"]["with sleepers against empty"] > 0


def test_another_database():
    done = run("tests.benchmarks", "--database-url", "mysql://127.0.0.1/x")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "error: argument --database-url: mysql is not measured, PostgreSQL and SQLite are.\n"
    )


def test_figures_and_ratios():
    ours = Result("durable_monty", "W4", 10, drains=[1, 9, 2], throughs=[4], size=100.0)
    ours.latencies = [0.001, 0.002, 0.003]
    theirs = Result("peer", "W4", 10, drains=[4], throughs=[2], size=300.0, transactions=7.0)
    theirs.latencies = [0.004, 0.004]
    (group,) = report.as_data([ours, theirs])
    assert group["unit"] == "steps/s"
    assert group["engines"]["durable_monty"] == {
        "drain": 250,  # 10 workflows of 50 steps in 2 seconds
        "with submits": 125,
        "latency p50 ms": 2.0,
        "latency p95 ms": 2.9,
        "transactions per workflow": None,
        "bytes per workflow": 100,
        "peak memory MB": None,
    }
    assert group["ratio"] == {
        "drain": 2.0,
        "with submits": 0.5,
        "latency p50 ms": 2.0,
        "latency p95 ms": 1.38,
        "bytes per workflow": 3.0,
    }
    assert report.as_text({"python": "3"}, [group]) == TABLE


TABLE = """\
python 3

W4: 50 calls, one after another; 10 at a time  durable_monty  peer  ratio
drain, steps/s                                           250   125  2.00x
with submits, steps/s                                    125   250  0.50x
latency p50 ms                                           2.0   4.0  2.00x
latency p95 ms                                           2.9   4.0  1.38x
transactions per workflow                                  -   7.0
bytes per workflow                                       100   300  3.00x
"""

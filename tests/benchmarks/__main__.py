"""How fast durable_monty is, and a peer beside it on the same machine at the same time.

Both run in turn (ours, peer, ours, peer ...), each time in new worker processes that a twentieth
of the workload has warmed up, on databases of their own. Figures are medians over the rounds.

What is counted
  drain         workflows (W4, W5: calls) a second. A backlog is submitted while the workers are
                stopped (SIGSTOP); the time runs from when they may go on until the last workflow
                is finished. Submitting is not in it.
  with submits  the same from the first submit on, with the workers running. One process submits,
                one workflow a transaction.
  latency       from before a submit until the workflow is known to be finished, when nothing else
                runs. A short query each 0.5 ms asks for it.
  transactions  committed ones of the database while a backlog is drained, with the start and the
                end of the workers, without submitting (PostgreSQL only).
  bytes         of all tables and indexes after VACUUM FULL, for each finished workflow. Nothing
                is pruned.
  peak memory   of the workers with all their processes, during a drain of its own. Shared pages
                count once. The database server is not in it.
What is not: the work of the functions (they add 1), networks, a second machine, the time that
workers take to start.

Run it on a machine that does nothing else: `load` tells what it did before. Ratios suffer least.
Peers are driven in the fastest way that their documentation has; their modules say which."""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.databases import measurable
from tests.benchmarks.engines import Options
from tests.benchmarks.measure import measure
from tests.benchmarks.workloads import WORKLOADS

PEERS = ("dbos", "absurd", "celery", "django_q2")


def new_parser(module, description):
    """With the options that all benchmarks have."""
    new = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("--executor", choices=["local", "django_q"], default="local")
    new.add_argument("--rounds", type=int, default=5)
    new.add_argument(
        "--database-url",
        type=measurable,
        default="",
        help="Databases are made and dropped beside this one, which itself is not touched. "
        "Default: SQLite, in a temporary folder.",
    )
    new.add_argument("--json", action="store_true")
    return new


def parser():
    new = new_parser("tests.benchmarks", __doc__)
    new.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    new.add_argument("--n", type=int, help="Workflows at a time, instead of each workload's own.")
    new.add_argument("--latency", action="store_true", help="Measure the latency too.")
    new.add_argument(
        "--workers",
        type=int,
        default=1,
        help="How many runworkers, or workers of the peer. With --executor django_q each has a "
        "cluster of two processes.",
    )
    new.add_argument("--peer", choices=[*PEERS, "none"], default="none")
    new.add_argument("--redis-url", default="redis://127.0.0.1:6379/9", help="For celery.")
    return new


def main():
    arguments = parser().parse_args()
    until_terminated()
    with tempfile.TemporaryDirectory(prefix="durable_monty_benchmark_") as folder:
        options = Options(
            arguments.executor,
            arguments.workers,
            arguments.database_url,
            Path(folder),
            arguments.redis_url,
        )
        found = run(arguments, engines_of(options, arguments.peer))
    print(json.dumps(found, indent=2) if arguments.json else report.as_text(**found))


def run(arguments, engines):
    names = list(WORKLOADS) if arguments.workload == "all" else [arguments.workload]
    results, load = [], round(os.getloadavg()[0], 1)
    try:
        for engine in engines:
            engine.create()
        for name in names:
            able = [engine for engine in engines if name in engine.workloads]
            n = arguments.n or WORKLOADS[name].n
            results += measure(able, WORKLOADS[name], n, arguments.rounds, arguments.latency)
        return {"where": report.machine(engines, load), "workloads": report.as_data(results)}
    finally:
        for engine in engines:
            engine.drop()


def engines_of(options, peer):
    their_class = _peer_class(options, peer) if peer != "none" else None
    set_up(options, their_class.settings(options) if their_class else {})
    from tests.benchmarks.ours import DurableMonty

    return [DurableMonty(options), *([their_class(options)] if their_class else [])]


def _peer_class(options, peer):
    os.environ["BENCHMARK_REDIS_URL"] = options.redis_url
    try:
        return importlib.import_module(f"tests.benchmarks.peers.{peer}").Peer
    except ModuleNotFoundError as exc:
        raise SystemExit(
            f"{exc}. Peers need a dependency group: "
            "uv run --group benchmarks python -m tests.benchmarks ..."
        ) from exc


def set_up(options, environment=None):
    """Django, for this process and those that it starts."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        "DATABASE_URL": options.database_url,
        **(environment or {}),
    }
    import django

    django.setup()


def until_terminated():
    """Whatever ends it, its workers and databases go too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


if __name__ == "__main__":
    sys.exit(main())

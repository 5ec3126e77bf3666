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
                runs. A short query each 0.3 ms asks for it.
  transactions  committed ones of the database while a backlog is drained, with the start and the
                end of the workers, without submitting (PostgreSQL only).
  bytes         of all tables and indexes after VACUUM FULL, for each finished workflow. Nothing
                is pruned.
  peak memory   of the workers with all their processes, during the drain. Shared pages count once.
                The database server is not in it.
What is not: the work of the functions (they add 1), networks, a second machine, the time that
workers take to start.

Peers are driven in the fastest way that their documentation has; their modules say which."""

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import databases, report
from tests.benchmarks.engines import Options
from tests.benchmarks.measure import measure
from tests.benchmarks.workloads import WORKLOADS

PEERS = ("dbos", "absurd", "celery", "django_q2")


def parser():
    new = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    new.add_argument("--executor", choices=["local", "django_q"], default="local")
    new.add_argument("--n", type=int, help="Workflows at a time, instead of each workload's own.")
    new.add_argument("--rounds", type=int, default=5)
    new.add_argument("--latency", action="store_true", help="Measure the latency too.")
    new.add_argument("--workers", type=int, default=1, help="How many runworkers; of a peer too.")
    new.add_argument("--peer", choices=[*PEERS, "none"], default="none")
    new.add_argument(
        "--database-url",
        default="",
        help="Databases are made and dropped beside this one, which is not touched itself. "
        "Default: SQLite, in a temporary folder.",
    )
    new.add_argument("--redis-url", default="redis://127.0.0.1:6379/9", help="For celery.")
    new.add_argument("--json", action="store_true")
    return new


def main():
    arguments = parser().parse_args()
    # Whatever ends it, its workers and databases go too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="durable_monty_benchmark_") as folder:
        options = Options(
            executor=arguments.executor,
            workers=arguments.workers,
            database_url=arguments.database_url,
            redis_url=arguments.redis_url,
            folder=Path(folder),
        )
        results = run(arguments, engines_of(options, arguments.peer))
    print(json.dumps(results, indent=2) if arguments.json else results_text(results))


def run(arguments, engines):
    names = list(WORKLOADS) if arguments.workload == "all" else [arguments.workload]
    results = []
    try:
        for engine in engines:
            engine.create()
        for name in names:
            able = [engine for engine in engines if name in engine.workloads]
            workload = WORKLOADS[name]
            results += measure(
                able,
                workload,
                arguments.n or workload.n,
                arguments.rounds,
                arguments.latency,
            )
        where = report.machine(engines)
    finally:
        for engine in engines:
            engine.drop()
    return {"where": where, "workloads": report.as_data(results)}


def results_text(results):
    return report.as_text(results["workloads"], results["where"])


def engines_of(options, peer):
    """Ours and the peer, after Django has been set up for both."""
    database = databases.own_database(options.database_url, "durable_monty", options.folder)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        "DATABASE_URL": database.url,
        "BENCHMARK_REDIS_URL": options.redis_url,
    }
    their_class = None
    if peer != "none":
        try:
            module = importlib.import_module(f"tests.benchmarks.peers.{peer}")
        except ModuleNotFoundError as exc:
            raise SystemExit(
                f"{exc}. Peers need a dependency group: "
                "uv run --group benchmarks python -m tests.benchmarks ..."
            ) from exc
        their_class = module.Peer
        os.environ |= their_class.settings(options)
    import django

    django.setup()
    from tests.benchmarks.ours import DurableMonty

    ours = DurableMonty(options, database)
    return [ours, their_class(options)] if their_class else [ours]


if __name__ == "__main__":
    sys.exit(main())

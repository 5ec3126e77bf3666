"""Workflows on real `runworker` processes, while everything around them breaks:

    python -m tests.chaos [--postgresql | --database-url URL]
        [--executor local|django_q|rq|celery] [--broker redis|rabbitmq]

kill -9 of any process of a worker (main, sentinel, worker, pusher, monitor, sandbox), SIGSTOP
beyond the lease, clocks that step (if there is a C compiler) and, with --postgresql, restarts
and crashes of a server that it starts for itself. With rq and celery these get a broker of their
own, which restarts and crashes, and workers of their own, which are killed and stopped as well.
Then: is every output right, was everything with a transactional effect done exactly once and
everything else at least once, does durable_doctor find nothing, is no process left? Exit code 1:
something is wrong.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import django

from tests.chaos.clocks import Clock, build
from tests.chaos.engines import ENGINES, running_engine
from tests.postgresql import private_cluster

_SHOWN = 30


def main():
    options = parser().parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.chmod(0o755)  # the user who runs PostgreSQL reads its clock there
    report = _run(options, directory)
    if report["wrong"]:
        report["kept"] = str(directory)
    else:
        shutil.rmtree(directory)
    print(json.dumps(report) if options.json else _text(report))
    sys.exit(bool(report["wrong"]))


def _run(options, directory):
    library = build(directory)
    clocks = {name: Clock(directory / name, library) for name in _machines(options)}
    with ExitStack() as stack:
        cluster, url = None, options.database_url or f"sqlite:///{directory / 'db.sqlite3'}"
        if options.postgresql:
            environment = clocks["database"].environment
            cluster = stack.enter_context(private_cluster(directory / "pg", environment))
            url = cluster.url
        engine = stack.enter_context(running_engine(options.executor, options.broker, directory))
        executors = {} if engine is None else {options.executor: engine.options}
        os.environ |= {
            "DURABLE_MONTY_JSON": json.dumps({"EXECUTORS": executors}),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "CHAOS_NOTES": str(directory / "notes"),
        }
        django.setup()
        from tests.chaos.run import run

        return run(options, directory, clocks, cluster, engine)


def _machines(options):
    """SQLite's time is that of the one machine; PostgreSQL's is its own."""
    workers = [f"worker {number}" for number in range(options.workers)]
    if options.postgresql:
        return ["database", *workers]
    return workers if options.database_url else ["machine"]


def parser():
    found = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = found.add_mutually_exclusive_group()
    where.add_argument("--database-url", help="An empty database. Default: a new SQLite file.")
    where.add_argument(
        "--postgresql", action="store_true", help="On a PostgreSQL server of its own."
    )
    executors = ["local", "django_q", *ENGINES]
    found.add_argument("--executor", choices=executors, default="django_q")
    brokers = ["redis", "rabbitmq"]
    found.add_argument("--broker", choices=brokers, help="Of celery. Default: redis.")
    found.add_argument("--workflows", type=int, default=1000, help="At least. Default: 1000.")
    found.add_argument("--seconds", type=float, default=0.0, help="At least. Default: 0.")
    found.add_argument("--workers", type=int, default=2, help="runworkers. Default: 2.")
    found.add_argument("--seed", type=int, default=1, help="Of the disturbances. Default: 1.")
    found.add_argument("--json", action="store_true", help="Print the report as JSON.")
    return found


def _text(report):
    wrong = report["wrong"]
    lines = [f"{name}: {value}" for name, value in report.items() if isinstance(value, str | int)]
    lines += [f"  {name}: {count}" for name, count in sorted(report["disturbances"].items())]
    lines += [f"WRONG: {what}" for what in wrong[:_SHOWN]]
    return "\n".join([*lines, f"{len(wrong)} wrong."])


if __name__ == "__main__":
    main()

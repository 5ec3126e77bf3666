from __future__ import annotations

import inspect
import os
import signal
import socket
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error, connections

from durable_monty.exceptions import ClusterNotStarted, DatabaseNotMigrated
from durable_monty.executors.base import Executor
from durable_monty.executors.loading import (
    SHORT_NAMES,
    configured_names,
    executor_class,
    make_executor,
)
from durable_monty.executors.table import NoExecutor
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.management.arguments import (
    DatabaseCommand,
    executor_name,
    pause,
    positive_int,
)
from durable_monty.service import OrchestratorService
from durable_monty.vendors import name_of
from durable_monty.worker import Worker

WRONG_OPTIONS = 2  # as argparse exits
CUT_OFF = 3  # a deploy script can tell it from a worker that could not start


class Command(DatabaseCommand):
    help = """Advances durable workflows and runs their functions. You can start any number of
workers, on any number of machines, for one database.

The first SIGTERM or SIGINT drains the worker: it starts nothing new, and running calls may end
within DURABLE_MONTY['DRAIN_TIMEOUT'] seconds. The second one stops it at once.

Exit codes:
  0    the worker is done, or has drained
  1    the worker could not start, because the settings are wrong, or the database is out of
       reach or not migrated; or the only round of --once failed
  2    the options are wrong
  3    the worker has drained, but running calls were cut off or not recorded; they will be
       run again
  143  a second SIGTERM stopped the worker (130: a second SIGINT)"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--executor",
            action="append",
            type=executor_name,
            metavar="NAME",
            help=f"Where functions run: {', '.join(SHORT_NAMES)}, or the dotted path of a class. "
            "You can give it several times. Default: DURABLE_MONTY['EXECUTOR'] and all of "
            "DURABLE_MONTY['EXECUTORS'].",
        )
        where.add_argument(
            "--no-cluster",
            action="store_true",
            help="Only advance workflows, and leave the functions to other processes.",
        )
        parser.add_argument(
            "--workers",
            type=positive_int,
            metavar="N",
            help="The number of calls that run at a time, for the first executor.",
        )
        until = parser.add_mutually_exclusive_group()
        until.add_argument("--once", action="store_true", help="Work for one round, then stop.")
        until.add_argument(
            "--until-complete",
            action="store_true",
            help="Stop when the only remaining work waits for people, or is paused.",
        )
        super().add_arguments(parser)
        parser.add_argument(
            "--poll-interval",
            type=pause,
            metavar="SECONDS",
            help="The longest pause between polls of an idle worker, at most a day. "
            "Default: DURABLE_MONTY['POLL_INTERVAL'].",
        )

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        # Without it, Django leaves out the checks of databases.
        kwargs: Any = super().get_check_kwargs(options)
        return {**kwargs, "databases": [options["database"]]}

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"]
        executors = self._executors(options)
        worker = Worker(OrchestratorService(using=using), executors, options["poll_interval"])
        functions = len(FUNCTION_REGISTRY.served_by(worker.executors.serves()))
        self.stdout.write(
            f"runworker on {socket.gethostname()}, pid {os.getpid()}: "
            f"executor {worker.executors.name}, {functions} functions, "
            f"{name_of(connections[using])} database {using!r}."
        )
        self.stdout.flush()  # a supervisor that reads a pipe sees at once that the worker is up
        try:
            with _signals(worker):
                drained = worker.run(
                    once=options["once"], until_complete=options["until_complete"]
                )
        except (DatabaseNotMigrated, ClusterNotStarted) as exc:
            raise CommandError(str(exc)) from exc
        except Error as exc:
            raise CommandError(f"The database {using!r} cannot be used: {exc}") from exc
        if not drained:
            self.stderr.write("Running calls were cut off; they will be run again.")
            sys.exit(CUT_OFF)

    def _executors(self, options: dict[str, Any]) -> Sequence[Executor]:
        workers = options["workers"]
        if options["no_cluster"]:
            if workers:
                raise CommandError(
                    "--workers has no meaning with --no-cluster.", returncode=WRONG_OPTIONS
                )
            return [NoExecutor()]
        try:
            names = options["executor"] or configured_names()
            found = executor_class(names[0])
            takes_none = found.may_block or not inspect.signature(found).parameters
            if workers and takes_none:
                raise CommandError(
                    f"--workers has no meaning with the executor {found.name!r}, which starts no "
                    "workers.",
                    returncode=WRONG_OPTIONS,
                )
            return [make_executor(names[0], workers), *map(make_executor, names[1:])]
        except ImproperlyConfigured as exc:
            raise CommandError(f"{exc}") from exc


@contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    """Drains the worker at the first signal, and ends the process at the second."""
    seen = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            worker.executors.kill()
            # sys.exit() would wait for the threads, and so for the functions that run in them.
            os._exit(128 + signum)
        seen = True
        worker.stop()

    # Only the main thread may set handlers; a test may call the command in another.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

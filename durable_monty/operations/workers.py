from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from typing import Any

from durable_monty.kinds import PERSON
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.operations.locks import locked
from durable_monty.operations.schedule import lease
from durable_monty.operations.transactions import write


def register_worker(executor: str, functions: Iterable[str], *, using: str) -> int:
    with write(using):
        now = database_now(using)
        return (
            WorkerProcess.objects.using(using)
            .create(
                host=socket.gethostname(),
                pid=os.getpid(),
                version=version("django-durable-monty"),
                sandbox_version=version("pydantic-monty"),
                executor=executor,
                functions_json=json.dumps(sorted(functions)),
                started_at=now,
                heartbeat_at=now,
            )
            .pk
        )


def beat(worker_id: int, stuck: Mapping[str, Any] | None = None, *, using: str) -> None:
    """Records that a worker is alive, even if somebody has dismissed it.

    `stuck`: its calls that no execution needs any more, as in `WorkerProcess.stuck_json`.
    """
    with write(using):
        WorkerProcess.objects.using(using).filter(pk=worker_id).update(
            heartbeat_at=database_now(using), stopped_at=None, stuck_json=json.dumps(stuck or {})
        )


def dismiss_workers(worker_ids: Collection[int], *, using: str) -> list[int]:
    """Marks workers that do not respond as stopped, and returns their ids."""
    # Nothing is taken from them: their claims end with their leases. A worker that was only slow
    # is alive again with its next heartbeat.
    with write(using):
        now = database_now(using)
        silent = WorkerProcess.objects.using(using).silent(now).filter(pk__in=worker_ids)
        dismissed = list(locked(silent).values_list("pk", flat=True))
        WorkerProcess.objects.using(using).filter(pk__in=dismissed).update(stopped_at=now)
    return dismissed


def dismiss_replaced(worker_id: int, *, using: str) -> list[int]:
    """Dismisses the workers that this one has replaced, and returns their ids.

    They died at least a lease ago on the same host, before this one started, and have no claims.
    """
    now = database_now(using)
    workers = WorkerProcess.objects.using(using)
    this = workers.filter(pk=worker_id)
    gone = workers.silent(now - lease()).filter(
        pk__lt=worker_id,
        host__in=this.values("host"),
        heartbeat_at__lt=this.values("started_at"),
    )
    ids = set(gone.values_list("pk", flat=True))
    if not ids:
        return []  # mostly; the queries below read all open calls
    has_claims = {"worker__in": ids, "claim__isnull": False}
    executions = Execution.objects.using(using).active().filter(**has_claims)
    ids -= set(executions.values_list("worker_id", flat=True))
    calls = Call.objects.using(using).open().exclude(PERSON.rows)
    ids -= set(calls.filter(**has_claims).values_list("worker_id", flat=True))
    return dismiss_workers(ids, using=using)


def retire_worker(worker_id: int, *, using: str) -> None:
    with write(using):
        now = database_now(using)
        WorkerProcess.objects.using(using).filter(pk=worker_id).update(
            heartbeat_at=now, stopped_at=now
        )

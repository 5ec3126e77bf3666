from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from importlib.metadata import version

from durable_monty.models import WorkerProcess
from durable_monty.models.clock import database_now
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


def beat(worker_id: int, *, using: str) -> None:
    with write(using):
        WorkerProcess.objects.using(using).filter(pk=worker_id).update(
            heartbeat_at=database_now(using)
        )


def retire_worker(worker_id: int, *, using: str) -> None:
    with write(using):
        now = database_now(using)
        WorkerProcess.objects.using(using).filter(pk=worker_id).update(
            heartbeat_at=now, stopped_at=now
        )

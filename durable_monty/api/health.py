"""Serves health checks for load balancers. They need no authentication."""

from __future__ import annotations

from typing import Any

from django.db import router as databases
from django.http import HttpRequest
from ninja import Router

from durable_monty.api.schemas import ErrorOut, HealthOut, ReadyOut
from durable_monty.exceptions import NoWorkerAlive
from durable_monty.models import Execution, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.reads.migrated import check_migrated

router = Router(tags=["health"])

# Databases that are known to be migrated. A newer migration comes with a restart of this process.
_migrated: set[str] = set()


@router.get("/health", auth=None, response={200: HealthOut})
def health(request: HttpRequest) -> Any:
    """Answers without a query: this process is alive."""
    return {"status": "ok"}


@router.get("/ready", auth=None, response={200: ReadyOut, 422: ErrorOut, 503: ErrorOut})
def ready(request: HttpRequest, workers: bool = True) -> Any:
    """Answers if the database is reachable and migrated, and a worker is alive.

    `workers=false` does not ask for a worker.
    """
    using = databases.db_for_write(Execution)
    now = database_now(using)
    if using not in _migrated:
        check_migrated(using)
        _migrated.add(using)
    alive = WorkerProcess.objects.using(using).alive(now).count()
    if workers and not alive:
        raise NoWorkerAlive
    return {"status": "ready", "workers": alive}

"""Starts, lists, shows and exports executions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import router as databases
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.translation import gettext
from ninja import Router, Status

from durable_monty import OrchestratorService, operations
from durable_monty.api.callers import note, require
from durable_monty.api.cursors import make_cursor, read_cursor
from durable_monty.api.schemas import (
    ERRORS,
    CheckIn,
    CheckOut,
    ExecutionOut,
    ExecutionPage,
    ExecutionState,
    Key,
    Label,
    Limit,
    Moment,
    StartIn,
)
from durable_monty.api.shapes import execution_facts, execution_row
from durable_monty.api.values import Shape, Values
from durable_monty.functions import resolve_functions
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.operations.start import check_permitted
from durable_monty.operations.transactions import write
from durable_monty.reads import executions as reads
from durable_monty.reads.export import export_json
from durable_monty.reads.pages import ExecutionQuery, read_executions_page, read_open_calls_page

router = Router(tags=["executions"])


@router.post("/executions", response={(200, 201): ExecutionState, **ERRORS})
def start_execution(request: HttpRequest, given: StartIn, values: Shape | None = None) -> Any:
    """Starts a workflow. Responds with 201, or with 200 if an execution has the key already."""
    caller = require(request, "start", "start_execution")
    using = databases.db_for_write(Execution)
    inputs = Values(request, values).read(given.inputs, "inputs")
    known = given.key and Execution.objects.using(using).filter(key=given.key).exists()
    with write(using):
        execution = operations.start_execution(
            given.code,
            given.functions,
            inputs,
            key=given.key,
            name=given.name,
            label=given.label,
            deadline=None if given.deadline is None else timedelta(seconds=given.deadline),
            on_conflict=given.on_conflict,
            user=caller.actor,
            using=using,
        )
        if not known:
            note(caller, execution, gettext("Started."), is_new=True)
    state = {"execution_id": str(execution.pk), "status": execution.status}
    return Status(200 if known else 201, state)


@router.get("/executions", response={200: ExecutionPage, **ERRORS})
def list_executions(
    request: HttpRequest,
    *,
    status: ExecutionStatus | None = None,
    name: Label | None = None,
    key: Key | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit = 50,
    cursor: str | None = None,
) -> Any:
    """Lists executions, the newest first. `since` is included, `until` is not."""
    require(request, "read", "view_execution")
    using = databases.db_for_read(Execution)
    wanted = ExecutionQuery(status, name, key, since, until)
    filters = asdict(wanted)
    after = None if cursor is None else uuid.UUID(read_cursor(cursor, "executions", filters))
    rows, more = read_executions_page(wanted, after, limit, using)
    last = make_cursor(str(rows[-1].pk), "executions", filters) if more else None
    return {"items": [execution_row(row) for row in rows], "next_cursor": last}


@router.get("/executions/{execution_id}", response={200: ExecutionOut, **ERRORS})
def get_execution(
    request: HttpRequest, execution_id: uuid.UUID, values: Shape | None = None
) -> Any:
    """Returns an execution and its first calls without an answer."""
    caller = require(request, "read", "view_execution")
    shape, using = Values(request, values), databases.db_for_read(Execution)
    execution = reads.get_execution(execution_id, using)
    sees_calls = caller.may("read", "view_call")
    calls, more = read_open_calls_page(execution.pk, using) if sees_calls else (None, False)
    return execution_facts(execution, calls, shape) | {"more_pending_calls": more}


@router.get("/executions/{execution_id}/export", response={200: dict[str, Any], **ERRORS})
def export_execution(request: HttpRequest, execution_id: uuid.UUID) -> HttpResponseBase:
    """Exports an execution with its whole journal, as the admin does."""
    require(request, "read", "view_execution", "view_call", "view_program", "export_execution")
    using = databases.db_for_read(Execution)
    pieces = export_json([reads.get_execution(execution_id, using).pk], using)
    return StreamingHttpResponse(
        _iterate_async(pieces) if isinstance(request, ASGIRequest) else pieces,
        content_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="execution-{execution_id}.json"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.post("/check", response={200: CheckOut, **ERRORS})
def check_source(request: HttpRequest, given: CheckIn, values: Shape | None = None) -> Any:
    """Returns everything that is wrong with a source. Nothing is stored or run."""
    caller = require(request, "start", "start_execution")
    inputs = Values(request, values).read(given.inputs, "inputs")
    functions = resolve_functions(given.functions)
    check_permitted(caller.actor, functions.values())
    return {"complaints": OrchestratorService().check(given.code, given.functions, inputs)}


async def _iterate_async(pieces: Iterator[str]) -> AsyncIterator[str]:
    # Under ASGI Django reads a sync iterator to its end before it sends anything.
    while (piece := await sync_to_async(lambda: next(pieces, None))()) is not None:
        yield piece

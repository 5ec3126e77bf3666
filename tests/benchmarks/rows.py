"""A month of executions, written as fast as each database takes rows: the same ones each time."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from durable_monty.models import (
    Call,
    CallKind,
    CallStatus,
    Execution,
    ExecutionStatus,
    Program,
    Snapshot,
    WorkerProcess,
)
from durable_monty.models.clock import database_now
from durable_monty.models.worker_process import HEARTBEAT

HISTORY = timedelta(days=30)
NAMES = ("encode_episode", "encode_episode", "review_episode", "refund", "onboarding")
FUNCTIONS = ("encode", "encode", "load_order", "pay_back", "send_letter")
ERRORS = ("ValueError", "RuntimeError", "LookupError", "TimeoutError")
_AT_ONCE = 5_000


def fill(executions: int, calls_of_one: int) -> None:
    now = database_now("default")
    program = Program.objects.ensure("await approve('it')", {"approve": "approve"})
    for number in range(3):
        WorkerProcess.objects.create(
            host=f"worker-{number}.example.org",
            pid=100 + number,
            version="0.1.0",
            sandbox_version="1.4",
            executor="django_q",
            functions_json='["encode", "load_order", "pay_back", "send_letter"]',
            started_at=now - timedelta(days=1),
            heartbeat_at=now + 1000 * HEARTBEAT,
        )
    made = _executions(executions, calls_of_one, program.pk, now)
    for _ in range(0, executions, 100_000):
        rows = list(itertools.islice(made, 100_000))
        with transaction.atomic():
            _load(Execution, rows)
            _load(Call, itertools.chain.from_iterable(_calls(row, now) for row in rows))
            _load(Snapshot, (_snapshot(row) for row in rows if row["status"] == "waiting"))


def _executions(count: int, large: int, program: int, now: datetime) -> Iterator[dict[str, Any]]:
    chance = random.Random(7)
    for number in range(count):
        created = now - HISTORY * ((count - number) / count)
        status = _status(chance.random(), recent=number > count * 0.97)
        ended = status in (
            ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED
        )  # fmt: skip
        took = timedelta(seconds=chance.expovariate(1 / 90))
        error = ""
        if status == ExecutionStatus.FAILED:
            error = "RareError" if number % 2_000 == 0 else chance.choice(ERRORS)
        name = chance.choice(NAMES)
        if number == count - 1:
            name, status, ended, error = "large", ExecutionStatus.WAITING, False, ""
        elif number % 100_000 == 500:
            name = "rare"
        yield {
            "id": _key(created, number),
            "program_id": program,
            "name": name,
            "key": f"key-{number}" if number % 10 == 0 else None,
            "status": status.value,
            "inputs": "{}",
            "seed": str(number),
            "output": "true" if status == ExecutionStatus.COMPLETED else None,
            "error_type": error,
            "error_message": "it did not work" if error else "",
            "turn": 0 if status == ExecutionStatus.SCHEDULED else 2,
            "call_count": large if number == count - 1 else 1,
            "due_at": created if status == ExecutionStatus.SCHEDULED else None,
            "created_at": created,
            "started_at": None if status == ExecutionStatus.SCHEDULED else created,
            "finished_at": min(created + took, now) if ended else None,
        }


def _status(chance: float, *, recent: bool) -> ExecutionStatus:
    if recent and chance > 0.8:
        return ExecutionStatus.SCHEDULED if chance > 0.99 else ExecutionStatus.WAITING
    if chance < 0.04:
        return ExecutionStatus.FAILED
    if chance < 0.05:
        return ExecutionStatus.CANCELLED
    if chance < 0.0501:
        return ExecutionStatus.PAUSED
    return ExecutionStatus.WAITING if chance < 0.06 else ExecutionStatus.COMPLETED


def _key(created: datetime, number: int) -> uuid.UUID:
    """As `uuid7` makes them, with a number instead of chance."""
    milliseconds = int(created.timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | number << 20)


def _calls(execution: dict[str, Any], now: datetime) -> Iterator[dict[str, Any]]:
    if execution["status"] == "scheduled":
        return
    seed = int(execution["seed"])
    for number in range(execution["call_count"]):
        call = {
            "execution_id": execution["id"],
            "call_id": number,
            "kind": CallKind.FUNCTION.value,
            "function": "rare" if seed % 200_000 == 700 else FUNCTIONS[seed % len(FUNCTIONS)],
            "args": "[1047, 80]",
            "kwargs": "{}",
            "position_start": 0,
            "position_end": 19,
            "turn": 1,
            "executor": "default",
            "created_at": execution["created_at"],
            "started_at": execution["created_at"],
            **_answer(execution, number),
        }
        if call["status"] == CallStatus.PENDING:
            call |= _waiting(seed, now)
        yield call


def _answer(execution: dict[str, Any], number: int) -> dict[str, Any]:
    finished = execution["finished_at"]
    match execution["status"]:
        case "completed":
            status = CallStatus.COMPLETED
        case "failed":
            status = CallStatus.FAILED
        case "cancelled":
            status = CallStatus.CANCELLED
        case _open:
            status = CallStatus.PENDING if number % 100 == 0 else CallStatus.COMPLETED
            finished = None if number % 100 == 0 else execution["created_at"]
    answered = status in (CallStatus.COMPLETED, CallStatus.FAILED)
    return {
        "status": status.value,
        "result": "true" if status == CallStatus.COMPLETED else None,
        "error_type": execution["error_type"],
        "finished_at": finished,
        "delivered_turn": 2 if answered else None,
    }


def _waiting(seed: int, now: datetime) -> dict[str, Any]:
    """Half for people, a third asleep, the rest for workers, some of it late."""
    if seed % 6 < 3:
        return {"function": "approve", "executor": "manual", "started_at": None}
    if seed % 6 < 5:
        later = now + timedelta(hours=seed % 200 + 1)
        sleep = {"kind": CallKind.TIMER.value, "function": "asyncio.sleep", "executor": "engine"}
        return {**sleep, "due_at": later, "started_at": None}
    return {"due_at": now - timedelta(minutes=seed % 8), "started_at": None}


def _snapshot(execution: dict[str, Any]) -> dict[str, Any]:
    return {
        "execution_id": execution["id"],
        "turn": execution["turn"],
        "data": b"\x00" * 1500,
        "size": 4000,
        "format": 1,
        "signature": "none",
        "created_at": execution["created_at"],
    }


def _load(model: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Columns that the rows lack have their defaults; keys that the database makes are left."""
    fields = [
        field for field in model._meta.concrete_fields
        if not (field.primary_key and field.get_internal_type() == "BigAutoField")
    ]  # fmt: skip
    columns = [field.column for field in fields]
    defaults = {field.column: field.get_default() for field in fields}
    if connection.vendor == "postgresql":
        values = ([{**defaults, **row}[column] for column in columns] for row in rows)
        _copy(model._meta.db_table, columns, values)
        return
    made = (
        [field.get_db_prep_save({**defaults, **row}[field.column], connection) for field in fields]
        for row in rows
    )
    names = ", ".join(connection.ops.quote_name(column) for column in columns)
    places = ", ".join(["%s"] * len(columns))
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        while batch := list(itertools.islice(made, _AT_ONCE)):
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", batch)


def _copy(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)

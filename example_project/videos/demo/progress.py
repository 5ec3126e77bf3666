"""The progress of an execution, read from its calls in the database."""

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from durable_monty import codec
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus, WorkerProcess
from durable_monty.models.clock import database_now

USING = "default"
NAME_WIDTH, BAR_WIDTH = 20, 16


@dataclass(frozen=True, slots=True)
class Phase:
    """The calls of one function. `seconds` is the time from the first call to the last answer, or
    to now; None before the first call."""

    name: str
    total: int
    done: int = 0
    running: int = 0
    retried: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an execution. `seconds` is the time since a worker began, None before;
    `lease` is the time in seconds until the work of a killed worker is taken over."""

    execution: Execution
    phases: list[Phase]
    seconds: float | None
    lease: float | None


def is_over(execution: Execution) -> bool:
    # A paused one waits for a person.
    return execution.is_finished or execution.status == ExecutionStatus.PAUSED


def read_progress(execution_id: uuid.UUID) -> Progress:
    execution = Execution.objects.select_related("worker").get(pk=execution_id)
    calls = list(execution.calls.select_related("worker").order_by("call_id"))
    now = database_now(USING)
    clips = len(codec.decode(execution.inputs).get("clips", ()))
    totals = {"encode_video": clips, "generate_thumbnail": clips, "create_package": 1}
    return Progress(
        execution,
        [
            phase_of(name, total, [call for call in calls if call.function == name], now)
            for name, total in totals.items()
        ],
        seconds_between(execution.started_at, execution.finished_at or now),
        lease_of_killed(execution, calls, now),
    )


def phase_of(name: str, total: int, calls: list[Call], now: datetime) -> Phase:
    if not calls:
        return Phase(name, total)
    ended = max(call.finished_at or now for call in calls)
    return Phase(
        name,
        total,
        done=sum(call.status == CallStatus.COMPLETED for call in calls),
        running=sum(
            call.is_open and call.started_at is not None and not is_lost(call.worker)
            for call in calls
        ),
        retried=sum(call.attempt > 1 for call in calls),
        seconds=seconds_between(min(call.created_at for call in calls), ended),
    )


def seconds_between(start: datetime | None, end: datetime) -> float | None:
    return (end - start).total_seconds() if start else None


def lease_of_killed(execution: Execution, calls: list[Call], now: datetime) -> float | None:
    rows: list[Execution | Call] = [execution, *calls]
    claims = [(row.claim, row.due_at, row.worker) for row in rows]
    leases = [due_at for claim, due_at, worker in claims if claim and due_at and is_lost(worker)]
    return max(0.0, (max(leases) - now).total_seconds()) if leases else None


def is_lost(worker: WorkerProcess | None) -> bool:
    """Returns whether the worker ran on this machine and its process is gone."""
    if worker is None or worker.host != socket.gethostname():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def shown(progress: Progress) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=NAME_WIDTH)
    table.add_column(width=BAR_WIDTH)
    for _ in range(2):
        table.add_column(justify="right")
    table.add_column(style="dim")
    for phase in progress.phases:
        table.add_row(
            f"  {phase.name}",
            ProgressBar(
                total=phase.total,
                completed=phase.done,
                width=BAR_WIDTH,
                complete_style="cyan",
                finished_style="green",
            ),
            f"{phase.done} of {phase.total}",
            "" if phase.seconds is None else f"{phase.seconds:.2f} s",
            remark(phase),
        )
    if progress.lease is not None:
        when = f"in {progress.lease:.0f} s" if progress.lease > 0.5 else "now"
        text = f"  A worker was killed: what it had begun comes back {when}."
    elif progress.seconds is None:
        text = "  The worker is starting."
    else:
        return table
    return Group(table, Text(text, style="yellow"))


def remark(phase: Phase) -> str:
    facts = []
    if phase.running:
        facts.append(f"{phase.running} running")
    if phase.retried:
        facts.append(f"{phase.retried} retried")
    return ", ".join(facts)

"""What is killed at every write: workflows, a person, a cancellation, and time that passes."""

import time
from contextlib import suppress
from datetime import timedelta
from unittest import mock

from django.contrib.auth.models import Group
from django.db.models import Count, Q

from durable_monty import (
    OrchestratorService,
    Retry,
    Worker,
    current_call,
    register_function,
)
from durable_monty.engine.run import State
from durable_monty.engine.turns import Turns
from durable_monty.exceptions import CallSettled, ExecutionFinished
from durable_monty.executors.run import run_function, run_started
from durable_monty.executors.table import TableExecutor
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Attempt, Call, CallStatus, Execution, Snapshot, clock
from durable_monty.models.execution import FINISHED, ExecutionStatus
from durable_monty.operations.answer import ClaimedCall
from tests.proof.databases import settlements
from tests.support import SEVEN_CALLS, seven_calls_output

STUMBLING = """
import asyncio

got = [await stumble(path)]
try:
    await fail("ValueError", "as it must")
except ValueError as e:
    got.append(str(e))
await asyncio.sleep(50)
got.append(await note(path, "after the sleep"))
got
"""
BOOKING = """
from asyncio import gather

first = await book("first")
[first, *await gather(book("second"), book("third"), note(path, "beside"))]
"""
CLEANING = """
try:
    await approve("x")
finally:
    await book("clean-up")
"""
# It is alone at its end, and commits before each call in the thread of the turn.
CHAIN = "x = 1\nfor i in range(9): x = await double(x)\nx"
APPROVING = "[await approve('y'), await note(path, 'approved')]"


@register_function("book", transactional=True)
def book(name):
    Group.objects.create(name=name)  # the name is unique: a second time would fail
    return name


@register_function("stumble", retry=Retry(max_attempts=3, initial=20, jitter=0))
def stumble(path):
    FUNCTION_REGISTRY["note"].func(path, "stumble")
    if current_call().attempt == 1:
        raise OSError("down")
    return "got up"


class Executor(TableExecutor):
    """As the local executor, in the worker's own thread: every run writes in the same order."""

    name = "local"

    def __init__(self):
        super().__init__()
        self._answers = []

    def submit_call(self, call):
        # Both ways in which executors record answers: by themselves, and through the worker.
        if FUNCTION_REGISTRY[call.function].transactional or call.function == "double":
            run_started(call, using=self.using)
        else:
            self._answers.append((ClaimedCall.of(call), run_function(call, self.using)))
        return str(call.pk)

    def take_answers(self):
        answers, self._answers = self._answers, []
        return answers

    def get_stats(self):
        return {}


class InlineCallsExecutor(Executor):
    """Calls are run before they have rows, where they can be."""

    def run_inline(self, calls, start, answer):
        for call in calls:
            following = call
            while following is not None and start(following):
                following = answer(following, run_function(following, self.using))

    def replace_thread(self, busy):
        pass


def run(place, *, runs_inline):
    """What is killed."""

    def work():
        executor = InlineCallsExecutor() if runs_inline else Executor()
        worker = Worker(OrchestratorService(), executor)
        with mock.patch.object(Turns, "wait_for", wait_for_all):
            while worker.round() or not worker.is_idle:
                pass

    service, path = OrchestratorService(), str(place / "notes")
    started = {
        "seven": service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": 2}, key="seven"),
        "stumbling": service.start_execution(
            STUMBLING, ["stumble", "fail", "note"], {"path": path}, key="stumbling"
        ),
        "booking": service.start_execution(
            BOOKING, ["book", "note"], {"path": path}, key="booking"
        ),
        "cleaning": service.start_execution(CLEANING, ["approve", "book"], key="cleaning"),
        "approving": service.start_execution(
            APPROVING, ["approve", "note"], {"path": path}, key="approving"
        ),
    }
    work()
    with suppress(CallSettled):
        service.complete_call(started["approving"], 0, "yes", reason="in time")
    with suppress(ExecutionFinished):
        service.cancel_execution(started["cleaning"], "not needed", grace=3600)
    for _ in range(4):
        work()
        clock.offset += timedelta(seconds=31)
    work()
    started["chain"] = service.start_execution(CHAIN, ["double"], key="chain")
    work()
    return started


def wait_for_all(turns, runs):
    """Every run commits the same turns together."""
    while len(turns.finished) < sum(run.state is not State.WAITING for run in runs):
        time.sleep(0.001)


def recover(place, *, runs_inline):
    """Another process, when all leases have run out, does all that once more: what was done is
    found done. Gives what is wrong then."""
    clock.offset += timedelta(seconds=300)
    started = run(place, runs_inline=runs_inline)
    notes = (place / "notes").read_text().splitlines()
    outcomes = {
        name: (execution.status, execution.output, execution.error_message)
        for name, pk in started.items()
        for execution in [Execution.objects.get(pk=pk)]
    }
    expected = {
        "seven": ("completed", str(seven_calls_output(2)), ""),
        "stumbling": ("completed", '["got up","as it must","after the sleep"]', ""),
        "booking": ("completed", '["first","second","third","beside"]', ""),
        "cleaning": ("cancelled", None, "not needed"),
        "approving": ("completed", '["yes","approved"]', ""),
        "chain": ("completed", "512", ""),
    }
    booked = {*Group.objects.values_list("name", flat=True)}
    findings = {
        "outcomes": {name: got for name, got in outcomes.items() if got != expected[name]},
        "not booked once": sorted({"first", "second", "third", "clean-up"} ^ booked),
        "not noted": sorted({"stumble", "after the sleep", "beside", "approved"} - {*notes}),
        "settled twice, or not": [pk for pk, times in settlements().items() if times != 1],
        "executions": Execution.objects.count() - len(expected),
        **broken_invariants(),
    }
    return {what: found for what, found in findings.items() if found}


def broken_invariants():
    calls, executions = Call.objects, Execution.objects
    finished = Q(execution__status__in=FINISHED)
    return {
        "open calls of the finished": calls.filter(finished).open().count(),
        "undelivered to the unfinished": calls.exclude(finished).undelivered().count(),
        "due or claimed": executions.filter(
            ~Q(due_at=None) | ~Q(claim=None), status__in=FINISHED
        ).count(),
        "snapshots": Snapshot.objects.count(),
        "calls miscounted": [
            str(execution.pk)
            for execution in executions.annotate(made=Count("calls"))
            if execution.made != execution.call_count
        ],
        "attempts of nothing": Attempt.objects.filter(call__attempt=0).count(),
        "completed without delivery": calls.filter(
            execution__status=ExecutionStatus.COMPLETED,
            status=CallStatus.COMPLETED,
            delivered_turn=None,
        ).count(),
    }

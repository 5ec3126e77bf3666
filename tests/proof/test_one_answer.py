"""Many want to answer one call: exactly one does, the others are told, and all read the same."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connections

from durable_monty import OrchestratorService, codec, operations
from durable_monty.exceptions import CallSettled, ExecutionFinished, LeaseLost
from durable_monty.models import Call, Execution
from durable_monty.operations import Answer, settle, stop, timeouts
from durable_monty.sandbox import CANCELLED
from tests.support import work

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20
SOURCE = """
try:
    out = await contested()
except BaseException as e:
    out = str(e)
out
"""


class Contest:
    """One open call: a worker runs it, another lost it, and its last deadline has passed."""

    def __init__(self, move_clock):
        self.execution_id = OrchestratorService().start_execution(SOURCE, ["contested"])
        OrchestratorService().process_execution(self.execution_id)
        self.stale = self._attempt()
        move_clock(61)
        self.held = self._attempt()
        operations.renew_calls([self.held], using="default")
        move_clock(50)

    def _attempt(self):
        (claimed,) = operations.claim_calls(["contested"], ["default"], 1, using="default")
        assert operations.start_attempts([claimed], using="default")
        return claimed

    def read(self):
        call = Call.objects.get(execution=self.execution_id)
        return call.status, call.result, call.error_type, call.error_message


def worker(contest):
    operations.settle_attempt(contest.held, Answer('"worker"'), using="default")


def worker_that_failed(contest):
    answer = Answer.of_error("ValueError", "worker failed")
    operations.settle_attempt(contest.held, answer, using="default")


def stale_worker(contest):
    operations.settle_attempt(contest.stale, Answer('"stale"'), using="default")


def person(contest):
    OrchestratorService().complete_call(contest.execution_id, 0, "person")


def person_who_refuses(contest):
    OrchestratorService().fail_call(contest.execution_id, 0, "refused")


def time_out(contest):
    operations.settle_overdue(10, using="default")


def cancel(contest):
    OrchestratorService().cancel_execution(contest.execution_id, "cancelled")


def terminate(contest):
    OrchestratorService().terminate_execution(contest.execution_id, "terminated")


# What the call says after each has won.
WON = {
    worker: ("completed", '"worker"', "", ""),
    worker_that_failed: ("failed", None, "ValueError", "worker failed"),
    stale_worker: ("completed", '"stale"', "", ""),
    person: ("completed", '"person"', "", ""),
    person_who_refuses: ("failed", None, "RuntimeError", "refused"),
    time_out: (
        "failed",
        None,
        "TimeoutError",
        "schedule-to-close: contested() was not done within 100 seconds",
    ),
    cancel: ("failed", None, CANCELLED, "cancelled"),
    terminate: ("cancelled", None, "", ""),
}
# They find nothing to do when they come late; the others are told.
SILENT = (time_out, cancel, terminate)
OPEN = ("submitted", None, "", "")


@pytest.fixture
def contest(register, move_clock):
    register("contested", lambda: None, schedule_to_close=100)
    return lambda: Contest(move_clock)


@pytest.fixture
def meet_before_writing(monkeypatch):
    """Lets all contestants read the call before any of them writes."""
    meeting = threading.local()

    def meet(write):
        @contextmanager
        def met(using):
            if barrier := meeting.__dict__.pop("barrier", None):
                barrier.wait(PATIENCE)
            with write(using):
                yield

        return met

    for module in (settle, timeouts, stop):
        monkeypatch.setattr(module, "write", meet(module.write))
    return meeting


def race(contest, contestants, meeting, *, late):
    """Everyone's refusal, if any, and what each read afterwards."""
    barrier = threading.Barrier(len(contestants))

    def enter(contestant):
        try:
            if late:
                meeting.barrier = barrier
            else:
                barrier.wait(PATIENCE)
            contestant(contest)
        except (CallSettled, LeaseLost, ExecutionFinished) as refusal:
            return type(refusal), contest.read()
        else:
            return None, contest.read()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(contestants)) as threads:
        return dict(zip(contestants, threads.map(enter, contestants), strict=True))


@pytest.mark.parametrize("late", [False, True], ids=["at the door", "after reading"])
def test_exactly_one_wins(proof, contest, meet_before_writing, late, monkeypatch):
    if late:
        # A result in one statement is read and written at once: the long way has a between.
        monkeypatch.setattr(settle, "settle_results", lambda answers, using: set())
    rng = random.Random(proof.seed)
    winners = set()
    for _ in range(proof.pick(quick=12, long=400)):
        contested = contest()
        rest = [contestant for contestant in WON if contestant is not stale_worker]
        contestants = [stale_worker, *rng.sample(rest, rng.randint(2, len(rest)))]
        rng.shuffle(contestants)
        outcomes = race(contested, contestants, meet_before_writing, late=late)
        winner = check(contested, outcomes)
        winners.add(winner)
    assert stale_worker not in winners
    assert len(winners) > 1


def check(contest, outcomes):
    """Raises unless it was one answer, for everyone and for ever; gives who gave it."""
    final = contest.read()
    (winner,) = (contestant for contestant in outcomes if WON[contestant] == final)
    reads = {
        read
        for contestant, (refusal, read) in outcomes.items()
        # Who lost its lease may be told before anyone has answered. A time-out is left for later
        # while somebody else has locked the execution.
        if refusal is not LeaseLost and not (contestant is time_out and read == OPEN)
    }
    assert reads == {final}
    for contestant, (refusal, _read) in outcomes.items():
        if contestant is winner:
            assert refusal is None
        elif contestant not in SILENT:
            expected = {CallSettled, LeaseLost} if contestant is stale_worker else {CallSettled}
            assert refusal in expected
        else:
            assert refusal in {None, ExecutionFinished}
    assert Call.objects.get(execution=contest.execution_id).due_at is None
    work()
    assert contest.read() == final
    check_workflow_saw(contest, final)
    return winner


def check_workflow_saw(contest, final):
    execution = Execution.objects.get(pk=contest.execution_id)
    _status, result, error_type, message = final
    if execution.status != "completed":
        assert execution.error_message == "terminated"
    elif result is not None:
        assert execution.output == result
    else:
        expected = f"Cancelled: {message}" if error_type == CANCELLED else message
        assert codec.decode(execution.output) == expected

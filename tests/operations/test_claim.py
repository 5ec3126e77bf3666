"""The shortcut claims what the portable code would, and returns the same."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F

from durable_monty.models import Execution, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.operations.shortcuts import shortcuts_of

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor not in ("postgresql", "sqlite"), reason="elsewhere there is no such"
    ),
]

# Attributes that are no columns.
OWN = ("_state", "claimed_at")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


def claim(limit, worker_id=None):
    return shortcuts_of("default").claim_executions(limit, worker_id)


def start(service, count=1):
    return [uuid.UUID(service.start_execution("await add(1, 2)", ["add"])) for _ in range(count)]


def test_claimed_executions_are_those_of_the_table(service):
    worker = WorkerProcess.objects.create(pid=1, started_at=MOMENT, heartbeat_at=MOMENT)
    plain, filled = start(service, 2)
    Execution.objects.filter(pk=filled).update(
        key="a key",
        name='naïve \x7f "quoted" %s',
        status="waiting",
        log="1\n2\u2028",
        turn=3,
        call_count=4,
        position_start=0,
        position_end=15,
        clock_at=MOMENT,
        wakeups=5,
        pause_requested=True,
        cancel_requested_at=MOMENT,
        reason="because",
        deadline=MOMENT.replace(microsecond=0),
        grace_until=MOMENT,
        forked_from=plain,
        forked_turn=2,
        started_at=MOMENT,
    )
    claimed = claim(10, worker.pk)
    assert {execution.pk for execution in claimed} == {plain, filled}
    for execution in claimed:
        assert database_now("default") - execution.claimed_at < timedelta(minutes=1)
        row = Execution.objects.get(pk=execution.pk)
        values = {name: value for name, value in vars(execution).items() if name not in OWN}
        assert values == {name: value for name, value in vars(row).items() if name not in OWN}
        assert values["worker_id"] == worker.pk
        assert values["due_at"] > database_now("default")
        assert not execution._state.adding
    assert claimed[0].claim == claimed[1].claim
    assert claim(10, worker.pk) == []


def test_longest_due_first(service):
    first, second, third = start(service, 3)
    Execution.objects.filter(pk=third).update(due_at=MOMENT)
    assert [e.pk for e in claim(1)] == [third]
    rest = [e.pk for e in claim(5)]
    assert rest == sorted([first, second])


@pytest.mark.parametrize(
    "change",
    [
        {"due_at": datetime(2100, 1, 1, tzinfo=UTC)},
        {"due_at": None},
        {"faults": F("faults") + 1},
        {"claim": uuid.uuid4()},
    ],
    ids=["not due yet", "never due", "has faults", "was lost"],
)
def test_others_are_left_to_the_portable_claim(service, change):
    other, due = start(service, 2)
    Execution.objects.filter(pk=other).update(**change)
    before = Execution.objects.values().get(pk=other)
    assert [e.pk for e in claim(5)] == [due]
    assert Execution.objects.values().get(pk=other) == before

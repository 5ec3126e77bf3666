"""What one statement writes is what the portable commit writes."""

import pytest
from django.db import connection

from durable_monty.models import Call, Execution, Snapshot
from durable_monty.operations import commit as portable
from durable_monty.operations.postgresql import PostgreSQL, commit as module
from tests.support import SEVEN_CALLS, advance, work

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere there is no such"),
]

GIVEN_UP = """
from asyncio import gather, sleep
try:
    await gather(fail("ValueError", "oh"), approve(1), sleep(60), add(1, 2))
except ValueError as e:
    print(e)
"""
CLOCKED = """
from datetime import datetime
print(str(datetime.now())[:2])
for i in range(10):
    await add(i, 1)
    print(i)
"""
# Of moments, whether there is one.
_MOMENTS = ("created_at", "started_at", "finished_at", "due_at", "clock_at")
_OWN = ("id", "execution_id", "seed", "worker_id", "claim", "data", "signature", "size")


def rows(model, **where):
    found = []
    for row in model.objects.filter(**where).order_by("pk").values():
        kept = {name: value for name, value in row.items() if name not in _OWN}
        kept |= {name: row[name] is not None for name in _MOMENTS if name in row}
        if row.get("kind") == "clock":
            del kept["result"]
        found.append(kept)
    return found


def tables(execution_id):
    return (
        rows(Execution, pk=execution_id),
        rows(Call, execution_id=execution_id),
        rows(Snapshot, execution_id=execution_id),
        Execution.objects.get(pk=execution_id).claim,
    )


@pytest.mark.parametrize(
    ("source", "functions"),
    [
        ("await add(1, 2)", ["add"]),
        ("1 + 1", []),
        (SEVEN_CALLS, ["add", "double"]),
        (GIVEN_UP, ["fail", "approve", "add"]),
        (CLOCKED, ["add"]),
        ("await approve(await add(1, 2))", ["approve", "add"]),
        ("import asyncio\nawait asyncio.sleep(3600)", []),
        ("await fail('ValueError', 'oh')", ["fail"]),
    ],
)
def test_both_ways_write_the_same(service, monkeypatch, source, functions):
    can_write = module.can_write
    answers, written = [], {}

    def noted(outcome):
        answers.append(can_write(outcome))
        return answers[-1]

    # The first to be saved leaves a dictionary for the snapshots of the others.
    ways = {"first": lambda outcome: False, "shortcut": noted, "portable": lambda outcome: False}
    for name, way in ways.items():
        monkeypatch.setattr(module, "can_write", way)
        execution_id = service.start_execution(source, functions, {"x": 2})
        seen = written[name] = []
        advance(execution_id)
        seen.append(tables(execution_id))
        work()
        seen.append(tables(execution_id))
    assert written["shortcut"] == written["portable"]
    assert any(answers) or "sleep(3600)" in source


def test_answer_that_came_during_the_turn_makes_it_due_again(service, monkeypatch):
    """Its wake-up found the execution claimed."""
    source = "from asyncio import gather\nawait gather(add(1, 2), add(3, 4))"
    execution_id = service.start_execution(source, ["add"])
    advance(execution_id)
    first, second = Call.objects.order_by("call_id")
    service.complete_call(execution_id, first.call_id, 3)
    commit, came = PostgreSQL.commit, []

    def late(shortcuts, outcomes):
        if not came:
            came.append(service.complete_call(execution_id, second.call_id, 7))
        return commit(shortcuts, outcomes)

    monkeypatch.setattr(PostgreSQL, "commit", late)
    monkeypatch.setattr(portable, "_commit", None)  # it is not needed
    advance(execution_id)
    execution = Execution.objects.get(pk=execution_id)
    assert came
    assert (execution.turn, execution.claim) == (2, None)
    assert execution.due_at is not None
    advance(execution_id)
    assert service.get_result(execution_id) == [3, 7]

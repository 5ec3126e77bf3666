"""What each endpoint does."""

from decimal import Decimal

import pytest

from durable_monty.models import Call, Execution, Program, WorkflowVersion
from tests.api.conftest import error_of

pytestmark = pytest.mark.django_db


def test_a_workflow_from_its_start_to_its_end(api, service):
    started = api.post(
        "/executions",
        {
            "code": "price = await approve(net)\nprice + net",
            "functions": ["approve"],
            "inputs": {"net": {"$decimal": "1.10"}},
            "name": "prices",
            "key": "order-1",
        },
    )
    assert started.status_code == 201, started.content
    execution_id = started.json()["execution_id"]
    assert started.json() == {"execution_id": execution_id, "status": "scheduled"}
    service.process_execution(execution_id)

    shown = api.get(f"/executions/{execution_id}").json()
    assert shown["status"] == "waiting"
    assert shown["inputs"] == {"net": {"$decimal": "1.10"}}
    assert shown["pending_calls"] == [
        {
            "call_id": 0,
            "function_name": "approve",
            "args": [{"$decimal": "1.10"}],
            "kwargs": {},
            "status": "pending",
        }
    ]
    answered = api.post(
        f"/executions/{execution_id}/calls/0/complete",
        {"result": {"$decimal": "2.00"}, "reason": "agreed"},
    )
    assert answered.status_code == 200, answered.content
    assert answered.json() == {
        "execution_id": execution_id,
        "call_id": 0,
        "status": "completed",
    }
    service.process_execution(execution_id)
    shown = api.get(f"/executions/{execution_id}", values="plain").json()
    assert (shown["status"], shown["output"]) == ("completed", "3.10")
    assert service.get_result(execution_id) == Decimal("3.10")


def test_starting_with_a_known_key(api):
    given = {"code": "1", "key": "once", "name": "ones"}
    first, again = api.post("/executions", given), api.post("/executions", given)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = api.post("/executions", given | {"name": "twos"})
    assert other.status_code == 409
    assert error_of(other)["code"] == "key_conflict"
    assert Execution.objects.count() == 1


def test_lists(api, service, django_assert_num_queries):
    made = {service.start_execution("1", [], name="ab"[n % 2]): n for n in range(5)}
    ids = sorted(made, reverse=True)  # in one millisecond they have no order
    api.get("/executions")  # the use of the key is noted
    with django_assert_num_queries(4):  # key, time, user, list
        page = api.get("/executions", limit=2)
    assert [row["execution_id"] for row in page.json()["items"]] == ids[:2]
    found = page.json()["items"]
    while cursor := page.json()["next_cursor"]:
        page = api.get("/executions", limit=2, cursor=cursor)
        found += page.json()["items"]
    assert [row["execution_id"] for row in found] == ids
    named = api.get("/executions", name="a", status="scheduled").json()["items"]
    assert [row["execution_id"] for row in named] == [pk for pk in ids if not made[pk] % 2]


def test_calls(api, asked):
    execution = asked("from asyncio import gather\nawait gather(*[approve(n) for n in range(5)])")
    page = api.get(f"/executions/{execution.pk}/calls", limit=3)
    assert [row["call_id"] for row in page.json()["items"]] == [0, 1, 2]
    page = api.get(f"/executions/{execution.pk}/calls", limit=3, cursor=page.json()["next_cursor"])
    assert [row["args"] for row in page.json()["items"]] == [[3], [4]]
    assert page.json()["next_cursor"] is None


def test_failing_a_call(api, asked, service):
    execution = asked("""
try:
    said = await approve(1)
except ValueError as error:
    said = str(error)
said
""")
    failed = api.post(
        f"/executions/{execution.pk}/calls/0/fail",
        {"error": "too much", "error_type": "ValueError"},
    )
    assert failed.json()["status"] == "failed", failed.content
    service.process_execution(execution.pk)
    assert service.get_result(execution.pk) == "too much"
    assert Call.objects.get().completed_by_name == "admin"


def test_a_label_and_a_version(api, service):
    started = api.post("/executions", {"code": "1", "name": "sum", "label": "first"})
    execution_id = started.json()["execution_id"]
    (row,) = api.get("/executions").json()["items"]
    shown = api.get(f"/executions/{execution_id}").json()
    for found in (row, shown):
        assert (found["name"], found["label"], found["version"]) == ("sum", "first", None)
    program = Program.objects.get()
    version = WorkflowVersion.objects.create(
        name="sum", number=3, digest="0" * 64, program=program, file="shop/workflows.py"
    )
    Execution.objects.update(version=version)
    (row,) = api.get("/executions").json()["items"]
    assert row["version"] == api.get(f"/executions/{execution_id}").json()["version"] == 3

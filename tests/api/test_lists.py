"""Pages of executions and calls."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from durable_monty.models import Execution, Program
from durable_monty.reads import pages
from tests.api.conftest import error_of

pytestmark = pytest.mark.django_db


def ids(response):
    assert response.status_code == 200, response.content
    return [row["execution_id"] for row in response.json()["items"]]


@pytest.fixture
def five(service):
    """In the order of their ids: those of one millisecond have none."""
    made = sorted(service.start_execution("1", []) for _ in range(5))
    for n, execution_id in enumerate(made):
        Execution.objects.filter(pk=execution_id).update(name=f"n{n % 2}", key=f"k{n}")
    return made


def test_filters(api, five):
    newest_first = five[::-1]
    assert ids(api.get("/executions")) == newest_first
    assert ids(api.get("/executions", name="n1")) == [five[3], five[1]]
    assert ids(api.get("/executions", key="k2")) == [five[2]]
    assert ids(api.get("/executions", key="K2")) == []
    assert ids(api.get("/executions", status="completed")) == []
    assert api.get("/executions", status="lost").status_code == 422


def test_since_and_until(api):
    program = Program.objects.ensure("1", {})
    made = []
    for day in (1, 2, 3):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        pk = pages._first_id(moment)
        row = Execution(id=pk, program=program, inputs="{}", created_at=moment)
        row.save()
        made.append(row)
    second = "2026-01-02T00:00:00Z"
    assert ids(api.get("/executions", since=second)) == [str(made[2].pk), str(made[1].pk)]
    assert ids(api.get("/executions", until=second)) == [str(made[0].pk)]
    assert ids(api.get("/executions", since=second, until="2026-01-03T00:00:00+00:00")) == [
        str(made[1].pk)
    ]
    assert api.get("/executions", since="yesterday").status_code == 422


def test_new_rows_do_not_move_a_page(api, five, service):
    page = api.get("/executions", limit=2)
    service.start_execution("1", [])
    following = api.get("/executions", limit=2, cursor=page.json()["next_cursor"])
    assert ids(following) == [five[2], five[1]]


def test_a_cursor_is_bound_to_its_list(api, five, asked):
    cursor = api.get("/executions", limit=2, name="n0").json()["next_cursor"]
    assert api.get("/executions", limit=1, name="n0", cursor=cursor).status_code == 200
    for query in ({}, {"name": "n1"}, {"name": "n0", "status": "failed"}):
        refused = api.get("/executions", cursor=cursor, **query)
        assert (refused.status_code, error_of(refused)["code"]) == (400, "wrong_cursor")
    execution = asked("from asyncio import gather\nawait gather(approve(1), approve(2))")
    refused = api.get(f"/executions/{execution.pk}/calls", cursor=cursor)
    assert error_of(refused)["code"] == "wrong_cursor"
    calls = api.get(f"/executions/{execution.pk}/calls", limit=1).json()["next_cursor"]
    refused = api.get(f"/executions/{five[0]}/calls", cursor=calls)
    assert error_of(refused)["code"] == "wrong_cursor"


@pytest.mark.parametrize("cursor", ["", "a", "a:b:c", "WzEsMl0:1:forged", "\N{SNOWMAN}"])
def test_a_forged_cursor(api, five, cursor):
    refused = api.get("/executions", cursor=cursor)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_cursor")


def test_calls_of_a_status(api, asked):
    execution = asked("from asyncio import gather\nawait gather(approve(1), approve(2))")
    api.post(f"/executions/{execution.pk}/calls/1/complete", {"result": 1})
    path = f"/executions/{execution.pk}/calls"
    assert [row["call_id"] for row in api.get(path, status="pending").json()["items"]] == [0]
    assert [row["call_id"] for row in api.get(path, status="completed").json()["items"]] == [1]


def test_large_values_end_a_page_early(api, asked, monkeypatch, django_assert_num_queries):
    execution = asked(
        "from asyncio import gather\nawait gather(*[approve('x' * 400) for _ in range(5)])"
    )
    monkeypatch.setattr(pages, "MOST_VALUES", 1_000)
    path = f"/executions/{execution.pk}/calls"
    api.get(path)
    with django_assert_num_queries(6):  # key, time, user, execution, sizes, calls
        page = api.get(path).json()
    assert [row["call_id"] for row in page["items"]] == [0, 1]
    monkeypatch.setattr(pages, "MOST_VALUES", 1)
    page = api.get(path, cursor=page["next_cursor"]).json()
    assert [row["call_id"] for row in page["items"]] == [2]
    with django_assert_num_queries(6):
        shown = api.get(f"/executions/{execution.pk}").json()
    assert len(shown["pending_calls"]) == 1
    assert shown["more_pending_calls"]


def test_rows_leave_out_what_is_large(api, service):
    service.start_execution("1", [], {"x": "y" * 1_000})
    with CaptureQueriesContext(connection) as queries:
        (row,) = api.get("/executions").json()["items"]
    assert "inputs" not in row
    for column in ("inputs", "output", "log", "error_traceback"):
        assert f"{column}" not in queries[-1]["sql"]


def test_moments_before_and_after_all_ids():
    assert pages._first_id(datetime(1, 1, 1, tzinfo=UTC)).int >> 80 == 0
    assert pages._first_id(datetime.max.replace(tzinfo=UTC) - timedelta(days=1)).version == 7

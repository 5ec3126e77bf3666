"""Values keep their types, unless a client wants plain JSON."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from durable_monty import codec
from durable_monty.models import Call, Execution
from tests.api.conftest import error_of

pytestmark = pytest.mark.django_db

VALUES = {
    "price": Decimal("1.10"),
    "big": 2**70,
    "pair": (1, {2, 3}),
    "when": datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
    "id": UUID(int=5),
    "raw": b"\x00\xff",
    "odd": {"$int": "no tag", 1: float("inf")},
    "order": {"b": 1, "a": 2.0},
}
TAGGED = codec.encode(VALUES)


def inputs_of(execution_id):
    return codec.decode(Execution.objects.get(pk=execution_id).inputs)


def test_tagged_values_keep_their_types(api):
    import json

    started = api.post("/executions", {"code": "1", "inputs": json.loads(TAGGED)}).json()
    assert inputs_of(started["execution_id"]) == VALUES
    shown = api.get(f"/executions/{started['execution_id']}").json()["inputs"]
    assert json.dumps(shown, separators=(",", ":")) == TAGGED
    assert list(shown["order"]) == ["b", "a"]


def test_plain_values_have_no_tags(api):
    given = {"x": {"$decimal": "1.10"}, "n": [1, 2.5, None]}
    started = api.post("/executions", {"code": "1", "inputs": given}, values="plain").json()
    assert inputs_of(started["execution_id"]) == given
    path = f"/executions/{started['execution_id']}"
    assert api.get(path).json()["inputs"]["x"] == {"$dict": [["$decimal", "1.10"]]}


@pytest.mark.parametrize("how", ["query", "header"])
def test_a_client_asks_for_plain_values(api, service, how):
    execution_id = service.start_execution("1", [], VALUES)
    if how == "header":
        api.headers["Durable-Values"] = "plain"
    shown = api.get(
        f"/executions/{execution_id}", **({"values": "plain"} if how == "query" else {})
    ).json()
    assert shown["inputs"] == {
        "price": "1.10",
        "big": 2**70,
        "pair": [1, [2, 3]],
        "when": "2026-01-31T12:00:00+01:00",
        "id": str(UUID(int=5)),
        "raw": "AP8=",
        "odd": {"$int": "no tag", "1": "inf"},
        "order": {"b": 1, "a": 2.0},
    }


def test_the_query_goes_before_the_header(api, service):
    execution_id = service.start_execution("1", [], {"x": (1, 2)})
    api.headers["Durable-Values"] = "plain"
    shown = api.get(f"/executions/{execution_id}", values="tagged").json()
    assert shown["inputs"] == {"x": {"$tuple": [1, 2]}}
    api.headers["Durable-Values"] = "typed"
    refused = api.get(f"/executions/{execution_id}")
    assert (refused.status_code, error_of(refused)["path"]) == (422, "Durable-Values")


def test_answers_are_values_too(api, asked):
    first, second = asked(), asked()
    api.post(f"/executions/{first.pk}/calls/0/complete", {"result": {"$tuple": [1]}})
    path = f"/executions/{second.pk}/calls/0/complete"
    api.post(path, {"result": {"$tuple": [1]}}, values="plain")
    results = [codec.decode(call.result) for call in Call.objects.order_by("pk")]
    assert results == [(1,), {"$tuple": [1]}]
    (shown,) = api.get(f"/executions/{first.pk}/calls", values="plain").json()["items"]
    assert shown["result"] == [1]


def test_answers_of_a_fork_say_where_they_are_wrong(api, asked):
    given = {"turn": 1, "answers": [{"call_id": 0, "result": {"$bytes": "?"}}]}
    refused = api.post(f"/executions/{asked().pk}/fork", given)
    assert refused.status_code == 422
    assert error_of(refused)["path"] == "answers[0].result"

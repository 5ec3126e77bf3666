"""Both clients, each method, against a real server."""

import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from durable_monty import Call, Execution, Retry, exceptions, operations
from tests.support import work

pytest.importorskip("httpx")
pytest.importorskip("ninja")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.django_db(transaction=True)

ASKS = "answer = await approve(question)\nanswer"
VALUES = {
    "price": Decimal("1.10"),
    "days": (date(2026, 1, 31), timedelta(days=2)),
    "raw": b"\0\xff",
    "chosen": {1, 2},
    5: 2**70,
}


@pytest.fixture
def waiting(client):
    def start(question=1, **options):
        execution_id = client.start(ASKS, ["approve"], {"question": question}, **options)
        work()
        return execution_id

    return start


def later(function):
    """In another thread, soon."""

    def run():
        try:
            function()
        finally:
            connection.close()

    thread = threading.Timer(0.3, run)
    thread.start()
    return thread


def test_values_keep_their_types(client, waiting):
    execution_id = waiting(VALUES, name="typed")
    shown = client.poll(execution_id)
    assert shown.inputs == {"question": VALUES}
    assert (shown.status, shown.name, shown.is_finished) == ("waiting", "typed", False)
    [call] = shown.pending_calls
    assert (call.call_id, call.function_name, call.args) == (0, "approve", [VALUES])
    client.complete(execution_id, 0, VALUES, reason="agreed")
    work()
    shown = client.poll(execution_id)
    assert (shown.status, shown.output, shown.is_finished) == ("completed", VALUES, True)
    assert isinstance(shown.finished_at, datetime)
    assert shown.finished_at.tzinfo is not None
    [call] = client.calls(execution_id)
    assert (call.result, call.reason, call.status) == (VALUES, "agreed", "completed")
    assert client.wait(execution_id) == VALUES


def test_starting_twice_with_a_key(client):
    first = client.start("1", key="once", deadline=timedelta(hours=1))
    assert client.start("1", key="once") == first
    assert Execution.objects.get().deadline is not None
    with pytest.raises(exceptions.KeyConflict) as raised:
        client.start("1", key="once", inputs={"a": 1})
    assert (raised.value.http_status, raised.value.code) == (409, "key_conflict")
    assert "already belongs to" in str(raised.value)
    assert client.start("1", key="once", inputs={"a": 1}, on_conflict="return") == first


def test_lists_are_read_page_by_page(client, service):
    names = {service.start_execution("1", [], name="ab"[n % 2]): "ab"[n % 2] for n in range(5)}
    # Newest first; those of one millisecond are in the order of their ids.
    ids = sorted(names, reverse=True)
    rows = client.list(page_size=2)
    assert next(iter(rows)).execution_id == ids[0]
    assert [row.execution_id for row in client.list(page_size=2)] == ids
    found = [row.execution_id for row in client.list(name="a", status="scheduled")]
    assert found == [each for each in ids if names[each] == "a"]
    later = datetime.now(UTC) + timedelta(days=1)
    assert list(client.list(since=later)) == []
    assert len(list(client.list(until=later))) == 5


def test_calls_are_read_page_by_page(client):
    source = "from asyncio import gather\nawait gather(*[approve(n) for n in range(5)])"
    execution_id = client.start(source, ["approve"])
    work()
    assert [call.args for call in client.calls(execution_id, page_size=2)] == [
        [n] for n in range(5)
    ]
    assert list(client.calls(execution_id, status="failed")) == []


def test_failing_a_call(client, waiting):
    execution_id = waiting()
    client.fail(execution_id, 0, ValueError("too much"), reason="policy")
    work()
    shown = client.poll(execution_id)
    assert (shown.status, shown.error.type, shown.error.message) == (
        "failed", "ValueError", "too much",
    )  # fmt: skip
    with pytest.raises(exceptions.ExecutionNotCompleted, match="ValueError: too much"):
        client.wait(execution_id)
    client.resolve(execution_id, reason="known")
    assert client.poll(execution_id).resolution == "known"
    other = client.retry(execution_id)
    assert other == execution_id or client.poll(other).forked_from == execution_id


def test_stopping_and_going_on(client, waiting):
    execution_id = waiting()
    client.pause(execution_id, reason="a look")
    assert (client.poll(execution_id).status, client.poll(execution_id).reason) == (
        "paused", "a look",
    )  # fmt: skip
    client.resume(execution_id)
    assert client.poll(execution_id).status == "waiting"
    client.cancel(execution_id, reason="no more", grace=5)
    work()
    assert client.poll(execution_id).status == "cancelled"
    with pytest.raises(exceptions.ExecutionFinished) as raised:
        client.terminate(execution_id)
    assert raised.value.http_status == 409
    other = waiting()
    client.terminate(other, reason="at once")
    assert client.poll(other).status == "cancelled"


def test_forking(client, waiting):
    execution_id = waiting()
    client.complete(execution_id, 0, 1)
    work()
    other = client.fork(execution_id, 1, answers={0: Decimal("2.5")}, reason="what if")
    work()
    assert client.wait(other) == Decimal("2.5")
    failing = client.fork(execution_id, 1, answers={0: ValueError("no")})
    asked = client.fork(execution_id, 1, ask_again=[0], name="again", key="one fork")
    work()
    assert client.poll(failing).status == "failed"
    assert client.poll(asked).status == "waiting"
    assert client.fork(execution_id, 1, ask_again=[0], name="again", key="one fork") == asked
    assert client.poll(asked).forked_from == execution_id


def test_retrying_a_call(client, register):
    register("ever", lambda: 1 / 0, retry=Retry(max_attempts=2, initial=3600))
    execution_id = client.start("await ever()", ["ever"])
    work()
    assert Call.objects.get().status == "pending"
    client.retry_call(execution_id, 0)
    work()
    assert client.poll(execution_id).status == "failed"
    with pytest.raises(exceptions.CallNotWaiting):
        client.retry_call(execution_id, 0)


def test_checking_functions_and_export(client, waiting):
    assert client.check("1") == []
    [complaint] = client.check("1 +")
    assert (complaint.line, complaint.rule) == (1, complaint.rule)
    with pytest.raises(exceptions.WrongSource) as raised:
        client.start("1 +")
    assert raised.value.complaints == (complaint,)
    assert "add" in {function.function for function in client.functions()}
    execution_id = waiting()
    assert execution_id in str(client.export(execution_id))


@pytest.mark.parametrize(
    ("attempt", "kind", "status"),
    [
        (lambda client: client.poll(uuid.uuid4()), exceptions.ExecutionNotFound, 404),
        (lambda client: client.wait(uuid.uuid4()), exceptions.ExecutionNotFound, 404),
        (lambda client: list(client.events(uuid.uuid4())), exceptions.ExecutionNotFound, 404),
        (lambda client: client.start("1", ["no_such"]), exceptions.UnknownFunction, 422),
        (lambda client: list(client.list(page_size=0)), exceptions.RequestRefused, 422),
        (lambda client: list(client.list(status="odd")), exceptions.RequestRefused, 422),
    ],
)
def test_errors_are_those_of_the_service(client, attempt, kind, status):
    with pytest.raises(kind) as raised:
        attempt(client)
    assert raised.value.http_status == status
    assert str(raised.value)


def test_answering_twice(client, waiting):
    execution_id = waiting()
    client.complete(execution_id, 0, 1)
    with pytest.raises(exceptions.CallSettled, match="already completed"):
        client.complete(execution_id, 0, 2)
    with pytest.raises(exceptions.CallNotFound):
        client.complete(execution_id, 7, 2)


def test_what_cannot_be_sent_is_not_sent(client):
    with pytest.raises(exceptions.UnstorableValue, match=r"inputs\['a'\]"):
        client.start("1", inputs={"a": object()})
    with pytest.raises(ValueError, match="badly formed"):
        client.poll("../functions")
    assert Execution.objects.count() == 0


def test_keys_that_may_not(server, connect, waiting):
    execution_id = waiting()
    with pytest.raises(exceptions.InvalidKey):
        connect(server, "wrong").poll(execution_id)
    with pytest.raises(exceptions.NotAuthenticated):
        connect(server).poll(execution_id)
    _key, secret = operations.make_api_key("reader", ["read"], using="default")
    with pytest.raises(exceptions.NotPermitted) as raised:
        connect(server, secret).cancel(execution_id)
    assert raised.value.http_status == 403


def test_waiting_for_the_end(client, waiting):
    execution_id = waiting()

    def answer():
        operations.settle_by_hand(
            uuid.UUID(execution_id), 0, operations.Answer("42"), using="default"
        )
        work()

    thread = later(answer)
    assert client.wait(execution_id, timeout=20) == 42
    thread.join()


def test_waiting_no_longer_than_asked(client, waiting):
    began = datetime.now(UTC)
    with pytest.raises(exceptions.WaitTimeout, match=r"still waiting after 0.4 seconds"):
        client.wait(waiting(), timeout=0.4)
    assert datetime.now(UTC) - began < timedelta(seconds=10)


def test_events(client, waiting):
    execution_id = waiting()
    told, thread = [], None
    for event in client.events(execution_id):
        told.append(event)
        if thread is None:
            client.complete(execution_id, 0, 1)
            thread = later(work)
    thread.join()
    assert (told[0].name, told[0].data["status"]) == ("state", "waiting")
    assert (told[-1].name, told[-1].data["status"]) == ("end", "completed")


def test_events_of_a_list(client, waiting):
    execution_id = waiting(name="ours")
    events = iter(client.list_events(name="ours"))
    first = next(events)
    assert (first.name, [row["execution_id"] for row in first.data]) == ("list", [execution_id])
    client.terminate(execution_id)
    changed = next(events)
    assert (changed.name, changed.data["status"]) == ("state", "cancelled")

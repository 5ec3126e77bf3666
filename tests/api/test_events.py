"""Server-sent events, from a real ASGI server and, in turns, from a WSGI one."""

import asyncio
import json
import time

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import Client

from durable_monty import Execution, OrchestratorService, operations
from durable_monty.api import hub as hubs
from durable_monty.models import ApiKey
from tests.live import serve, statements_elsewhere
from tests.support import work

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.django_db(transaction=True)

LISTENERS = 200
AT_ONCE = 10


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(hubs, "LINGER", 0.1)
    monkeypatch.setattr(hubs, "RECHECK", 0.1)


@pytest.fixture
def server():
    with serve() as url:
        yield f"{url}/api"


@pytest.fixture
def key(db):
    _key, secret = operations.make_api_key("events", ["read"], using="default")
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def waiting(service):
    def start(name="followed"):
        execution_id = service.start_execution("await approve(1)", ["approve"], name=name)
        work()
        return execution_id

    return start


def answer(execution_id):
    OrchestratorService().complete_call(execution_id, 0, True)
    work()


async def follow(client, url, headers, ready=None, told=None):
    """Reads a stream to its end: `[(event, data, id)]`."""
    told = [] if told is None else told
    async with client.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == "text/event-stream"
        fields = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                if "event" in fields:
                    told.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
                    if ready is not None:
                        ready.release()
                fields = {}
    return told


def listen(server, headers, url, meanwhile, listeners=1):
    """Has so many listeners follow until the end, and does something once all have begun."""

    async def everybody():
        ready = asyncio.Semaphore(0)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:
            streams = []
            # As any request does, each needs a connection until it is known who asks.
            for begun in range(listeners):
                streams.append(asyncio.create_task(follow(client, server + url, headers, ready)))
                if begun >= AT_ONCE:
                    await asyncio.wait_for(ready.acquire(), 30)
            for _ in range(min(listeners, AT_ONCE)):
                await asyncio.wait_for(ready.acquire(), 30)
            await asyncio.to_thread(_closing, meanwhile)
            return await asyncio.wait_for(asyncio.gather(*streams), 60)

    return asyncio.run(everybody())


def _closing(function):
    try:
        function()
    finally:
        connection.close()


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_execution_to_its_end(server, key, waiting):
    execution_id = waiting()
    [told] = listen(
        server, key, f"/executions/{execution_id}/events", lambda: answer(execution_id)
    )
    assert (told[0][0], told[0][1]["status"]) == ("state", "waiting")
    assert (told[-1][0], told[-1][1]["status"]) == ("end", "completed")
    assert told[-1][1]["execution_id"] == execution_id
    assert told[-1][2]


def test_two_hundred_listeners_cost_the_database_no_more_than_one(
    server, key, waiting, durable_settings, monkeypatch
):
    """From when all have begun until all have heard the end."""
    interval = durable_settings(POLL_INTERVAL=0.05).POLL_INTERVAL
    monkeypatch.setattr(hubs, "RECHECK", 30.0)
    reads = {}
    for listeners in (1, LISTENERS):
        until(lambda: not any(hubs._hubs.values()))  # the connection of the next one is watched
        execution_id, begun = waiting(), []
        with statements_elsewhere() as statements:

            def meanwhile(execution_id=execution_id, begun=begun, statements=statements):
                begun.append((len(statements), time.monotonic()))
                answer(execution_id)

            streams = listen(
                server, key, f"/executions/{execution_id}/events", meanwhile, listeners
            )
        [(number, began)] = begun
        seconds = time.monotonic() - began
        later = [each for each in statements[number:] if each[0].startswith("durable_monty-hub")]
        looks = [sql for _thread, sql in later if "wakeups" in sql and "worker_id" not in sql]
        reads[listeners] = len(later) - len(looks)
        assert len(streams) == listeners
        assert {told[-1][0] for told in streams} == {"end"}
        assert {told[-1][1]["status"] for told in streams} == {"completed"}
        # Whoever else asks is the answer's thread, and what hears of changes.
        others = {thread for thread, _sql in statements[number:]} - {"durable_monty-hub_0"}
        assert all("wakeups" in name or name.startswith("asyncio") for name in others), others
        assert len(looks) <= seconds / interval + 2
    # Each new state is two statements, whoever hears of it: the answer, and the end.
    assert 2 <= reads[LISTENERS] <= 4, reads
    assert 2 <= reads[1] <= 4, reads


def test_no_listener_holds_a_connection(server, key, waiting):
    execution_id = waiting()
    opened = []

    def meanwhile():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                )
                opened.append(cursor.fetchone()[0])
        answer(execution_id)

    listen(server, key, f"/executions/{execution_id}/events", meanwhile, 50)
    # The test's, this thread's, the hub's and its listener's.
    assert all(count <= 6 for count in opened), opened


def test_resuming_after_the_last_event(server, key, waiting):
    execution_id = waiting()
    url = f"/executions/{execution_id}/events"
    [told] = listen(server, key, url, lambda: answer(execution_id))
    end = httpx.get(server + url, headers=key | {"Last-Event-ID": told[-1][2]}, trust_env=False)
    assert (end.status_code, end.content) == (204, b"")
    [again] = listen(server, key | {"Last-Event-ID": told[0][2]}, url, lambda: None)
    assert [name for name, _data, _id in again] == ["end"]


def test_a_list(server, key, waiting):
    first, second, others = waiting("ours"), [], waiting("theirs")
    told = []

    def end():
        until(lambda: told)
        second.append(waiting("ours"))
        until(lambda: len(told) > 1)
        ApiKey.objects.update(revoked_at=Execution.objects.get(pk=first).created_at)

    async def both():
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            url = f"{server}/executions/events?name=ours&status=waiting"
            await asyncio.gather(
                follow(client, url, key, told=told), asyncio.to_thread(_closing, end)
            )

    asyncio.run(both())
    assert told[0][0] == "list"
    assert [state["execution_id"] for state in told[0][1]] == [first]
    assert {data["execution_id"] for name, data, _id in told if name == "state"} == set(second)
    assert others not in str(told)
    assert told[-1][0] == "refused"


def test_key_that_is_revoked_meanwhile(server, key, waiting):
    def revoke():
        operations.revoke_api_keys([ApiKey.objects.get().pk], using="default")

    [told] = listen(server, key, f"/executions/{waiting()}/events", revoke)
    assert [name for name, _data, _id in told] == ["state", "refused"]
    assert told[-1][1]["code"] == "not_permitted"


@pytest.mark.parametrize("how", ["log out", "deactivate", "take permission"])
def test_session_that_ends_meanwhile(server, waiting, make_user, how):
    user = make_user("view_execution")
    client = Client()
    client.force_login(user)
    session_key = client.cookies["sessionid"].value

    def end():
        if how == "log out":
            SessionStore(session_key).flush()
        elif how == "deactivate":
            get_user_model().objects.filter(pk=user.pk).update(is_active=False)
        else:
            user.user_permissions.clear()

    headers = {"Cookie": f"sessionid={session_key}"}
    [told] = listen(server, headers, f"/executions/{waiting()}/events", end)
    assert [name for name, _data, _id in told] == ["state", "refused"]


def test_who_may_not_look_is_refused_at_once(server, waiting, db):
    _key, secret = operations.make_api_key("start", ["start"], using="default")
    url = f"{server}/executions/{waiting()}/events"
    for headers, status, code in [
        ({}, 401, "not_authenticated"),
        ({"Authorization": "Bearer wrong"}, 401, "invalid_key"),
        ({"Authorization": f"Bearer {secret}"}, 403, "not_permitted"),
    ]:
        for each in (url, f"{server}/executions/events"):
            refused = httpx.get(each, headers=headers, trust_env=False)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


def test_unknown_execution(server, key):
    url = f"{server}/executions/01a22441-ea8a-722f-b218-863467c2794d/events"
    refused = httpx.get(url, headers=key, trust_env=False)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "execution_not_found"


def test_who_disconnects_leaves_nothing_behind(server, key, waiting):
    execution_id = waiting()
    with httpx.Client(trust_env=False) as client:
        url = f"{server}/executions/{execution_id}/events"
        with client.stream("GET", url, headers=key) as response:
            assert next(response.iter_lines()) == "retry: 3000"
            until(lambda: _followed() == 1)
    until(lambda: _followed() == 0)


def _followed():
    return sum(
        len(hub.topics) for per_loop in list(hubs._hubs.values()) for hub in per_loop.values()
    )


def test_wsgi_sends_what_there_is_and_ends(waiting, key):
    execution_id = waiting()
    url = f"/api/executions/{execution_id}/events"
    told = Client().get(url, headers=key)
    assert told["Content-Type"] == "text/event-stream"
    assert told.content.startswith(b"retry: 3000\n\nid: ")
    assert b"event: state\ndata: {" in told.content
    last_id = told.content.split(b"id: ")[1].split(b"\n")[0].decode()
    again = Client().get(url, headers=key | {"Last-Event-ID": last_id})
    assert again.content == b"retry: 3000\n\n"
    answer(execution_id)
    assert b"event: end" in Client().get(url, headers=key | {"Last-Event-ID": last_id}).content
    assert b"event: list" in Client().get("/api/executions/events", headers=key).content

"""Many listeners, one thread that looks."""

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager

import pytest
from django.db import OperationalError, connections

from durable_monty import Execution, OrchestratorService
from durable_monty.api import hub as hubs, streams
from durable_monty.api.hub import hub_of
from durable_monty.api.snapshots import NewestExecutions, OneExecution, Snapshot
from durable_monty.reads.pages import ExecutionQuery
from tests.support import work

pytestmark = pytest.mark.django_db(transaction=True)

WAITS = "await ask('go on?')"


@pytest.fixture(autouse=True)
def quick(monkeypatch, register):
    monkeypatch.setattr(hubs, "LINGER", 0.05)
    monkeypatch.setattr(hubs, "RECHECK", 0.05)
    register("ask", lambda text: None, executor="manual")


def in_loop(test):
    """Runs a coroutine function, and waits until nothing of its hubs is left."""

    def check(*arguments, **options):
        async def all_of_it():
            await asyncio.wait_for(test(*arguments, **options), 30)
            await until(lambda: not hubs._hubs.get(asyncio.get_running_loop()))
            await until(
                lambda: not any("durable_monty-hub" in each.name for each in threading.enumerate())
            )

        asyncio.run(all_of_it())

    # pytest finds the fixtures by the signature.
    check.__wrapped__, check.__name__ = test, test.__name__
    return check


async def until(condition):
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def elsewhere(function, *arguments):
    """In a thread with a connection of its own, as another process would."""

    def call():
        try:
            return function(*arguments)
        finally:
            connections.close_all()

    return asyncio.to_thread(call)


def started(source=WAITS):
    execution_id = OrchestratorService().start_execution(source, ["ask"], name="followed")
    work()
    return Execution.objects.get(pk=execution_id)


def answered(execution):
    OrchestratorService().complete_call(execution.pk, 0, True)
    work()


class Events:
    """What a stream of events told: `[(event, data, id)]`."""

    def __init__(self, topic, *, credential="key", is_allowed=lambda: True, last_id=""):
        self.told, self.heartbeats, self.chunks = [], 0, []
        stream = streams.events("default", topic, credential, is_allowed, last_id)
        self.task = asyncio.create_task(self._read(stream))

    async def _read(self, stream):
        async for chunk in stream:
            self.chunks.append(chunk)
            for block in filter(None, chunk.decode().split("\n\n")):
                if block.startswith(":"):
                    self.heartbeats += 1
                elif not block.startswith("retry"):
                    fields = dict(line.split(": ", 1) for line in block.split("\n"))
                    data = json.loads(fields["data"])
                    self.told.append((fields["event"], data, fields.get("id")))

    @property
    def names(self):
        return [name for name, _data, _id in self.told]


@asynccontextmanager
async def counted(hub):
    """The statements of the hub's thread."""
    statements = []

    def count(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)

    def install():
        connections["default"].execute_wrappers.append(count)

    await asyncio.get_running_loop().run_in_executor(hub._thread, install)
    yield statements


@in_loop
async def test_states_and_the_end():
    execution = await elsewhere(started)
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.told)
    name, state, first_id = events.told[0]
    assert (name, state["status"], state["turn"]) == ("state", "waiting", 1)
    assert state["calls"] == {"open": 1, "completed": 0, "failed": 0, "cancelled": 0}
    assert (state["name"], state["is_finished"]) == ("followed", False)
    await elsewhere(answered, execution)
    await events.task
    name, state, last_id = events.told[-1]
    assert (name, state["status"], state["is_finished"]) == ("end", "completed", True)
    assert state["calls"] == {"open": 0, "completed": 1, "failed": 0, "cancelled": 0}
    assert first_id != last_id


@in_loop
async def test_what_was_printed_is_told():
    execution = await elsewhere(started, "print('before')\nawait ask('?')\nprint('after')")
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.told)
    assert events.told[0][1]["log_tail"] == "before\n"
    await elsewhere(answered, execution)
    await events.task
    assert events.told[-1][1]["log_tail"] == "before\nafter\n"


@in_loop
async def test_what_was_seen_is_not_told_again():
    execution = await elsewhere(started)
    first = Events(OneExecution(execution.pk))
    await until(lambda: first.told)
    again = Events(OneExecution(execution.pk), last_id=first.told[0][2])
    other = Events(OneExecution(execution.pk), last_id="another")
    await until(lambda: other.told)
    assert again.told == []
    await elsewhere(answered, execution)
    await asyncio.gather(first.task, again.task, other.task)
    assert again.names[-1] == "end"
    late = Events(OneExecution(execution.pk), last_id=again.told[-1][2])
    await late.task
    assert late.told == []


@in_loop
async def test_executions_that_many_follow_are_read_together():
    executions = await elsewhere(lambda: [started() for _ in range(20)])
    all_events = [Events(OneExecution(execution.pk)) for execution in executions]
    await until(lambda: all(events.told for events in all_events))
    async with counted(hub_of("default")) as statements:
        await asyncio.sleep(0.2)
    # Each look is one statement for all of them.
    assert 0 < len(statements) < 20
    assert all(sql.count("%s") == 20 for sql in statements)
    for events in all_events:
        events.task.cancel()


@in_loop
async def test_slow_listener_gets_the_last_state():
    execution = await elsewhere(started, "\n".join([WAITS] * 5))
    stream = streams.events("default", OneExecution(execution.pk), "key", lambda: True)
    assert (await anext(stream)).startswith(b"retry")
    assert b'"turn":1' in await anext(stream)
    quick_one = Events(OneExecution(execution.pk))
    for call_id in range(5):
        await elsewhere(OrchestratorService().complete_call, execution.pk, call_id, True)
        await elsewhere(work)
    await quick_one.task
    assert (await anext(stream)).count(b"event: end") == 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@in_loop
async def test_execution_that_is_gone():
    execution = await elsewhere(started)
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.told)
    await elsewhere(Execution.objects.filter(pk=execution.pk).delete)
    await events.task
    assert events.told[-1][:2] == ("gone", {"execution_id": str(execution.pk)})


@in_loop
async def test_heartbeats(monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.02)
    execution = await elsewhere(started)
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.heartbeats > 2)
    assert b": heartbeat\n\n" in events.chunks
    assert events.names == ["state"]
    events.task.cancel()


@in_loop
async def test_revoked_credential_ends_its_streams_only():
    execution = await elsewhere(started)
    allowed, asked = {"ours": True, "theirs": True}, []

    def ask(name):
        asked.append((name, threading.current_thread().name))
        return allowed[name]

    topic = OneExecution(execution.pk)
    ours = [Events(topic, credential="ours", is_allowed=lambda: ask("ours")) for _ in range(5)]
    theirs = Events(topic, credential="theirs", is_allowed=lambda: ask("theirs"))
    await until(lambda: theirs.told and all(events.told for events in ours))
    asked.clear()
    allowed["ours"] = False
    await asyncio.gather(*(events.task for events in ours))
    assert {events.names[-1] for events in ours} == {"refused"}
    assert ours[0].told[-1][1]["code"] == "not_permitted"
    assert asked.count(asked[0]) < 5
    assert all("durable_monty-hub" in thread for _name, thread in asked)
    allowed["ours"] = True
    again = Events(topic, credential="ours", is_allowed=lambda: ask("ours"))
    await elsewhere(answered, execution)
    await asyncio.gather(theirs.task, again.task)
    assert (theirs.names[-1], again.names[-1]) == ("end", "end")


@in_loop
async def test_leaving_frees_everything():
    execution = await elsewhere(started)
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.told)
    hub = hub_of("default")
    assert hub.topics[OneExecution(execution.pk)].listeners == 1
    assert list(hub.permits) == ["key"]
    events.task.cancel()
    await until(lambda: not hub.topics)
    assert hub.permits == {}
    await until(hub._task.done)
    assert hub_of("default") is not hub


@in_loop
async def test_list():
    first = await elsewhere(started)
    topic = NewestExecutions(ExecutionQuery(status="waiting", name="followed"))
    events = Events(topic)
    await until(lambda: events.told)
    name, states, first_id = events.told[0]
    assert name == "list"
    assert first_id
    assert [state["execution_id"] for state in states] == [str(first.pk)]
    second = await elsewhere(started)
    await until(lambda: len(events.told) > 1)
    name, state, _id = events.told[1]
    assert (name, state["execution_id"]) == ("state", str(second.pk))
    await elsewhere(answered, first)
    await until(lambda: "gone" in events.names)
    assert events.told[-1][1] == {"execution_id": str(first.pk)}
    assert not events.task.done()
    events.task.cancel()


@in_loop
async def test_list_sends_its_id_with_the_last_of_many():
    topic = NewestExecutions(ExecutionQuery())
    now = Snapshot({"a": "1", "b": "2", "d": "4"}, "newer")
    before = Snapshot({"a": "1", "b": "3", "c": "3"}, "older")
    told = b"".join(streams.write_events(topic, before, now)).decode()
    assert told == (
        'event: gone\ndata: {"execution_id": "c"}\n\n'
        "event: state\ndata: 4\n\n"
        "id: newer\nevent: state\ndata: 2\n\n"
    )


@in_loop
async def test_database_that_is_out_of_reach_is_waited_for(monkeypatch, log):
    execution = await elsewhere(started)
    events = Events(OneExecution(execution.pk))
    await until(lambda: events.told)
    real, failures = hubs.read_snapshots, []

    def broken(*arguments):
        if len(failures) < 2:
            failures.append(1)
            raise OperationalError("it is away")
        return real(*arguments)

    monkeypatch.setattr(hubs, "read_snapshots", broken)
    await until(lambda: len(failures) == 2)
    await elsewhere(answered, execution)
    await events.task
    assert events.names[-1] == "end"
    assert "events wait for the database: it is away" in log.messages

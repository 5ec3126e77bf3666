"""A wake-up saves time, and only time: workers look by themselves too."""

import threading
import time
from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction

from durable_monty import (
    LocalExecutor,
    OrchestratorService,
    Retry,
    Worker,
    operations,
    wakeups,
)
from tests.support import run

pytestmark = pytest.mark.django_db(transaction=True)

wakes = pytest.mark.skipif(connection.vendor == "mysql", reason="it has no notifications")


@pytest.fixture
def listener():
    woken = threading.Event()
    listener = wakeups.Listener("default", woken.set)
    yield woken
    listener.stop()
    assert not listener._thread.is_alive()


def until(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what


def start_elsewhere(code="1"):
    """As another process does: over a connection of its own."""

    def start():
        try:
            OrchestratorService().start_execution(code, [])
        finally:
            connections.close_all()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()


@wakes
def test_start_wakes_listeners(listener):
    if connection.vendor == "postgresql":
        until(lambda: can_hear(listener), "it listens")
    for _ in range(3):
        listener.clear()
        wakeups._announced.clear()
        start_elsewhere()
        assert listener.wait(30)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="they are PostgreSQL's")
def test_nothing_is_announced_before_the_commit(listener, service):
    until(lambda: can_hear(listener), "it listens")
    listener.clear()
    wakeups._announced.clear()
    with transaction.atomic():
        service.start_execution("1", [])
        assert not listener.wait(0.2)
    assert listener.wait(30)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="they are PostgreSQL's")
@pytest.mark.parametrize("in_transaction", [True, False])
def test_wake_up_that_cannot_be_sent(service, monkeypatch, log, in_transaction):
    """What was committed before is told to nobody, and stays."""
    monkeypatch.setattr(wakeups, "_CHANNEL", "no such; syntax")
    wakeups._announced.clear()
    if in_transaction:
        with transaction.atomic():
            execution_id = service.start_execution("1", [])
    else:
        execution_id = service.start_execution("1", [])
    (message,) = log.messages
    assert message.startswith("wake-up not sent: ")
    assert service.poll(execution_id)["status"] == "scheduled"


def can_hear(listener):
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {wakeups._CHANNEL}")
    return listener.wait(0.1)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="they are PostgreSQL's")
def test_without_notifications_workers_poll(service, monkeypatch, log):
    """As behind a pooler in transaction mode."""
    monkeypatch.setattr(wakeups, "_PROOF", 0.05)
    monkeypatch.setattr(wakeups, "_CHANNEL", "elsewhere; UNLISTEN elsewhere")
    assert not wakeups.can_listen("default")
    execution_id = service.start_execution("1 + 1", [])
    worker = Worker(service, LocalExecutor())
    thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))
    thread.start()
    until(lambda: service.poll(execution_id)["status"] == "completed", "it was polled for")
    until(lambda: log.messages, "it says so")
    worker.stop()
    thread.join()
    assert (
        "no wake-ups: LISTEN does not work here, maybe behind a pooler; polling instead"
        in log.messages
    )


@pytest.mark.skipif(connection.vendor != "postgresql", reason="they are PostgreSQL's")
def test_listener_that_hears_nothing_asks_again(monkeypatch, log):
    monkeypatch.setattr(wakeups, "_PROOF", 0.05)
    monkeypatch.setattr(wakeups, "_DEAF_FOR", 0.01)
    woken = threading.Event()
    with monkeypatch.context() as pooled:
        pooled.setattr(wakeups, "_CHANNEL", "elsewhere; UNLISTEN elsewhere")
        listener = wakeups.Listener("default", woken.set)
        try:
            until(lambda: log.messages, "it says so")
            time.sleep(0.2)
            assert len(log.messages) == 1
            pooled.undo()
            until(lambda: (start_elsewhere(), woken.wait(0.1))[1], "it hears")
        finally:
            listener.stop()


@wakes
def test_listener_comes_back(monkeypatch, log):
    monkeypatch.setattr(wakeups, "_RETRY", 0.01)
    failures = [OSError("the server is restarting")]
    name = "_hears" if connection.vendor == "postgresql" else "_WATCH_EVERY"
    if name == "_hears":
        hears = wakeups._hears

        def flaky(*arguments):
            if failures:
                raise failures.pop()
            return hears(*arguments)

        monkeypatch.setattr(wakeups, "_hears", flaky)
    else:
        monkeypatch.setattr(wakeups, "_WATCH_EVERY", "no number")
    woken = threading.Event()
    listener = wakeups.Listener("default", woken.set)
    try:
        until(lambda: "wake-ups interrupted: " in log.text, "it was interrupted")
        if name == "_WATCH_EVERY":
            monkeypatch.setattr(wakeups, "_WATCH_EVERY", 0.003)
        until(lambda: (start_elsewhere(), woken.wait(0.1))[1], "it listens again")
    finally:
        listener.stop()


def test_idle_worker_looks_less_and_less_often(service):
    worker = Worker(service, LocalExecutor(), poll_interval=0.05)
    pauses = [worker.idle_pause() for _ in range(8)]
    assert pauses == sorted(pauses)
    assert (pauses[0] < 0.01, pauses[-1]) == (True, 0.05)


def test_worker_that_is_told_looks_rarely_and_soon_after_it_was_told(service):
    worker = Worker(service, LocalExecutor(), poll_interval=0.05)
    worker.listener = SimpleNamespace(hears=True)
    assert [worker.idle_pause() for _ in range(12)][-1] == 1
    worker.wake()
    assert worker.idle_pause() == 0.05


@wakes
def test_a_sleep_ends_in_time_however_rarely_a_worker_looks(service):
    execution_id = service.start_execution(
        "import asyncio\nawait asyncio.sleep(0.4)\nawait asyncio.sleep(0.4)", []
    )
    worker = Worker(service, LocalExecutor(), poll_interval=30)
    thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))
    thread.start()
    until(lambda: service.poll(execution_id)["status"] == "completed", "it has slept")
    worker.stop()
    thread.join()


@wakes
def test_what_becomes_due_by_hand_is_announced(listener, service, register):
    def fail():
        raise ValueError

    register("flaky", fail, retry=Retry(2, initial=3600))
    waiting = run("await flaky()", ["flaky"])
    finished = run("1", [])
    asked = service.start_execution("await add(1, 2)", ["add"])
    service.process_execution(asked)
    claims = operations.claim_calls(["add"], ["default"], 1, using="default")
    for act in (
        lambda: service.retry_call(waiting.pk, 0),
        lambda: service.fork_execution(finished.pk, 0),
        lambda: operations.release_calls(claims, using="default"),
    ):
        until(lambda: not (listener.clear(), listener.wait(0.1))[1], "it is quiet")
        act()
        assert listener.wait(10)

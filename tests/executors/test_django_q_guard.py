"""What the sentinel does when things go wrong, step by step."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from durable_monty import conf, operations
from durable_monty.executors.django_q import CallBroker, sentinel as sentinel_module
from durable_monty.executors.django_q.board import Board, TaskChannel
from durable_monty.executors.django_q.sentinel import CallSentinel
from durable_monty.executors.django_q.task import task_for
from durable_monty.models import CallStatus
from tests.processes import ROOT, alive, until
from tests.support import claimed_call


@pytest.fixture
def sentinel():
    """A sentinel of one worker, without its processes."""
    guard = CallSentinel.__new__(CallSentinel)
    guard.board = Board(1)
    guard.task_queue = TaskChannel(guard.board)
    guard.broker = CallBroker()
    guard.pool = [child(seat=guard.board.seats[0], timer=SimpleNamespace(value=-1))]
    guard.pusher = child()
    guard._taken, guard._idle_since = 0, None
    guard.board.pulse.pusher = time.monotonic()
    return guard


def child(**attributes):
    killed = []
    return SimpleNamespace(
        pid=os.getpid(),
        is_alive=lambda: not killed,
        kill=lambda: killed.append(True),
        killed=killed,
        **attributes,
    )


@pytest.mark.django_db(transaction=True)
def test_what_nobody_started_is_given_back(sentinel):
    call, claimed = claimed_call()
    other = {"func": "shop.tasks.tidy", "args": ()}
    sentinel.task_queue.put(task_for([claimed], "default"))
    sentinel.task_queue.put(other)
    sentinel._give_back()
    call.refresh_from_db()
    assert (call.status, call.claim, call.attempt) == (CallStatus.PENDING, None, 0)
    # The project's own tasks are run before the workers end.
    assert list(sentinel.task_queue.take_back()) == [other]


@pytest.mark.django_db(transaction=True)
def test_giving_back_without_a_database(sentinel, monkeypatch, log):
    call, claimed = claimed_call()

    def release_calls(*args, **kwargs):
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(sentinel_module, "release_calls", release_calls)
    sentinel.task_queue.put(task_for([claimed], "default"))
    sentinel._give_back()
    call.refresh_from_db()
    assert call.claim == claimed.token
    assert [record.message for record in log.records] == [
        f"calls left to their leases: call in row {call.pk}: the server closed the connection"
    ]


@pytest.mark.django_db(transaction=True)
def test_an_overdue_call_that_was_answered_keeps_its_answer(sentinel, log):
    call, claimed = claimed_call()
    operations.settle_attempt(claimed, operations.Answer(result="3"), using="default")
    seat = sentinel.board.seats[0]
    sentinel._settle_overdue(seat)
    seat.call, seat.token = claimed.pk, claimed.token.hex.encode()
    sentinel._settle_overdue(seat)
    call.refresh_from_db()
    assert (call.status, call.result) == (CallStatus.COMPLETED, "3")
    assert [record.message for record in log.records] == [
        f"time-out not recorded: call 0 of execution {call.execution_id}, function add: Call 0 of "
        f"execution {call.execution_id} is already completed; it cannot become failed. Nothing "
        "was changed."
    ]


def test_a_busy_cluster_is_not_frozen(sentinel):
    (worker,) = sentinel.pool
    lease = conf.current().LEASE
    now = time.monotonic()
    sentinel.task_queue.put("task")
    worker.seat.take()
    for later in (0, lease + 1, 10 * lease):
        sentinel.board.pulse.pusher = now + later
        sentinel._end_frozen(now + later)
    assert not worker.killed
    assert not sentinel.pusher.killed


def test_a_worker_that_takes_nothing_is_frozen(sentinel, log):
    (worker,) = sentinel.pool
    lease = conf.current().LEASE
    now = time.monotonic()
    sentinel.task_queue.put("task")
    for later in (0, lease - 1, lease + 1):
        assert not worker.killed
        sentinel.board.pulse.pusher = now + later
        sentinel._end_frozen(now + later)
    assert worker.killed
    assert [record.message for record in log.records] == [
        f"workers frozen: processes [{worker.pid}] are killed"
    ]


def test_a_silent_pusher_is_frozen(sentinel, log):
    sentinel._end_frozen(time.monotonic() + conf.current().LEASE + 1)
    assert sentinel.pusher.killed
    assert [record.message for record in log.records] == [
        f"pusher frozen: process {sentinel.pusher.pid} is killed"
    ]


def test_a_recycled_worker_that_does_not_end_is_killed(sentinel):
    (worker,) = sentinel.pool
    worker.seat.take()
    worker.timer.value = -2
    sentinel._end_frozen(time.monotonic())
    assert not worker.killed
    sentinel.board.pulse.pusher = later = time.monotonic() + conf.current().LEASE + 1
    sentinel._end_frozen(later)
    assert worker.killed


ORPHAN = """
import os, time, django
django.setup()
from durable_monty.executors.django_q import lifeline
if not {kernel}:
    lifeline._libc = None
parent = os.getpid() if {in_time} else 1
reader, writer = os.pipe()
if os.fork() == 0:
    print(os.getpid(), flush=True)
    lifeline.end_with(parent)
    os.write(writer, b"1")
    time.sleep(60)
if {in_time}:
    os.read(reader, 1)
else:
    os.wait()
os._exit(0)
"""


@pytest.mark.parametrize("in_time", [True, False], ids=["in time", "too late"])
@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "watching"])
def test_no_orphans(kernel, in_time):
    pid = int(
        subprocess.check_output(
            [sys.executable, "-c", ORPHAN.format(kernel=kernel, in_time=in_time)],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            timeout=30,
        )
    )
    until(lambda: not alive(pid), "it ends with its parent")

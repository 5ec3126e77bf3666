"""What the processes of a cluster share."""

import errno
import socket
import threading
import time
import uuid

import pytest

from durable_monty.executors.django_q import (
    run_task,
)
from durable_monty.executors.django_q.board import Board, ResultChannel, TaskChannel
from durable_monty.executors.django_q.channels import Bell, Channel, Flag
from durable_monty.executors.django_q.task import task_for
from durable_monty.operations.answer import ClaimedCall


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_messages_of_any_size(monkeypatch, kind):
    monkeypatch.setattr("durable_monty.executors.django_q.channels._KIND", kind)
    channel = Channel()
    for message in [{"a": 1}, "STOP", "x" * 5_000_000]:
        channel.put(message)
        assert (channel.empty(), channel.qsize()) == (False, 1)
        assert channel.get() == message
    assert (channel.empty(), channel.qsize()) == (True, 0)
    with pytest.raises(BlockingIOError):
        channel.get(block=False)


def test_results_that_cannot_be_pickled_are_failures():
    channel = ResultChannel(run_task)
    channel.put({"func": run_task, "result": None})
    assert channel.empty()
    channel.put({"func": "f", "result": threading.Lock(), "success": True})
    message = channel.get()
    assert message["success"] is False
    assert message["result"] == "TypeError: cannot pickle '_thread.lock' object"


def test_a_bell_is_heard_once_and_a_flag_stays():
    bell, flag = Bell(), Flag()
    assert not bell.wait(0)
    for _ in range(70_000):
        bell.ring()
    while bell.wait(0):
        pass
    assert not flag.is_set()
    flag.set()
    assert flag.wait(0)
    assert flag.is_set()


def test_room_for_workers_that_wait_and_for_quick_ones():
    board = Board(3)
    tasks = TaskChannel(board)
    assert tasks.room() == 3
    for seat in board.seats:
        tasks.put("task")
        seat.take()
    assert tasks.room() == 0  # all run, and nobody knows for how long
    board.seats[0].rest()
    assert tasks.room() == 1 + 4
    for _ in range(3):
        tasks.put("task")
    assert tasks.room() == 0  # more than half of it waits
    board.seats[0].take()
    assert list(tasks.take_back()) == ["task"] * 6
    # What was lost with a killed process is not counted for ever.
    board.pulse.put_at = time.monotonic() - 2
    assert tasks.room() == 4


def test_more_calls_fit_a_channel_than_ever_wait(monkeypatch):
    channel = Channel()
    channel._writer.setblocking(False)
    task = task_for([ClaimedCall(2**40, uuid.uuid4())] * 16, "default")
    for _ in range(150):
        channel.put({**task, "cluster": "a name", "ack_id": f"call-{2**40}"})
    full = OSError(errno.ENOBUFS, "No buffer space available")
    sent = []

    class Writer:
        def sendmsg(self, *args):
            sent.append(args)
            if len(sent) < 3:
                raise full

        def close(self):
            pass

    channel._writer.close()
    monkeypatch.setattr(channel, "_writer", Writer())
    channel.put("as on macOS, where a full buffer is an error")
    assert len(sent) == 3

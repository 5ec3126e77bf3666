"""What is read of large journals, and what is kept when it is not needed any more."""

import gc
import os
import threading
import tracemalloc
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection, connections

from durable_monty import LocalExecutor, Worker
from durable_monty.engine.interpreters import Interpreters, interpreters
from durable_monty.models import Call
from durable_monty.operations.limits import limits_of_settings
from durable_monty.reads.export import export_json
from durable_monty.sandbox import Interpreter, Workflow, pool, trim
from tests.processes import until
from tests.support import SEVEN_CALLS, run

_VALUE = 100_000


def peak_of(action):
    """The most memory that Python has had for it, in values."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / _VALUE
    finally:
        tracemalloc.stop()


@pytest.mark.django_db
def test_large_journals_are_read_bit_by_bit(service, register):
    register("blob", lambda number: "x" * _VALUE)
    source = "for i in range(120): await blob(i)\nawait approve(1)"
    execution = run(source, ["blob", "approve"])
    assert Call.objects.count() == 121
    exported = peak_of(lambda: deque(export_json([execution.pk], "default"), maxlen=0))
    assert exported < 20
    forked = peak_of(lambda: service.fork_execution(execution.pk, execution.turn))
    assert forked < 120
    assert Call.objects.count() == 242


@pytest.mark.django_db
def test_statements_are_not_kept_with_debug(settings, register):
    """Django keeps them until a request ends; a worker has none."""
    settings.DEBUG = True
    kept = []
    register("note_kept", lambda: kept.append(len(connection.queries_log)))
    run("for i in range(50): await note_kept()", ["note_kept"])
    assert len(kept) == 50
    assert max(kept) < 60
    assert len(connections["default"].queries_log) < 60


def sandboxes():
    """The sandbox processes of this one, with their resident bytes."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            stat = pool._stat_of(int(entry.name))
            if stat is not None and stat.memory and b"monty" in (entry / "comm").read_bytes():
                found[int(entry.name)] = stat.memory
    return found


def interpreter_of(source):
    workflow = Workflow(source, {}, "{}", seed="")
    return Interpreter(workflow, limits_of_settings(), lambda: datetime(2000, 1, 1, tzinfo=UTC))


@pytest.mark.skipif(not os.path.exists("/proc"), reason="Linux tells it")  # noqa: PTH110
def test_process_that_became_large_ends_with_its_run():
    with interpreter_of("x = ['a' * 100 + str(i) for i in range(250_000)]\nlen(x)") as large:
        large.start()
        pid = large._session.worker_pid
        assert sandboxes()[pid] > 32 * 1024 * 1024
    until(lambda: pid not in sandboxes(), "its process has ended")


@pytest.mark.skipif(not os.path.exists("/proc"), reason="Linux tells it")  # noqa: PTH110
def test_processes_that_nobody_needs_end(monkeypatch):
    # A pool of its own: interpreters that other tests left open count as in use.
    monkeypatch.setattr(pool, "_pool", None)
    many = [interpreter_of("1 + 1") for _ in range(12)]
    pids = {interpreter._session.worker_pid for interpreter in many}
    for interpreter in many[1:]:
        interpreter.close()
    assert pids <= sandboxes().keys()
    monkeypatch.setattr(pool, "_IDLE", 0.0)
    assert pool.has_spare()
    trim()
    until(lambda: len(pids & sandboxes().keys()) <= 1, "only what is in use is left")
    assert many[0].start().outcome.output == "2"
    many[0].close()
    until(lambda: not pids & sandboxes().keys(), "that has ended, too")
    with interpreter_of("3") as fresh:
        assert fresh.start().outcome.output == "3"
    pool._pool.monty.__exit__(None, None, None)


@pytest.mark.skipif(not os.path.exists("/proc"), reason="Linux tells it")  # noqa: PTH110
@pytest.mark.django_db(transaction=True)
def test_idle_worker_gives_its_sandboxes_back(service, monkeypatch):
    """After a burst of executions that wait for people."""
    monkeypatch.setattr(pool, "_pool", None)
    for name in ("engine.engine.TIDY_INTERVAL", "engine.interpreters._IDLE", "sandbox.pool._IDLE"):
        monkeypatch.setattr(f"durable_monty.{name}", 0.2)
    before = sandboxes()
    for x in range(20):
        service.start_execution("await approve(x)", ["approve"], {"x": x})
    worker = Worker(service, LocalExecutor(2), poll_interval=30)
    most = []
    tidy = Interpreters.end_idle

    def noted(self):
        most.append(len(sandboxes().keys() - before.keys()))
        tidy(self)

    monkeypatch.setattr(Interpreters, "end_idle", noted)
    thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))
    thread.start()
    try:
        waiting = Call.objects.filter(function="approve")
        until(lambda: waiting.count() == 20, "all of them wait")
        until(lambda: not sandboxes().keys() - before.keys(), "no sandbox is left")
    finally:
        worker.stop()
        thread.join()
    assert max(most) >= 10
    assert len(interpreters) == 0


@pytest.mark.django_db(transaction=True)
def test_executions_leave_no_cycles(service):
    """What only the garbage collector frees stays for long, with the interpreters it holds."""
    worker = Worker(service, LocalExecutor(2))

    def work_off(number):
        for x in range(number):
            service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x})
        worker.run(until_complete=True)

    work_off(5)  # what is made once
    gc.collect()
    gc.disable()
    try:
        work_off(40)
        # Some 350 are of the worker's own start and end. One cycle a call would be 2,600.
        assert gc.collect() < 1_000
    finally:
        gc.enable()

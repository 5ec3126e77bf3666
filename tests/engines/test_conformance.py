"""What every executor does on its real engine. `conformance.Engine` says how an engine joins."""

import itertools
import json
import re
import uuid
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest

from durable_monty import OrchestratorService
from durable_monty.models import Attempt, Call, CallStatus, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from tests.engines.conformance import SETTINGS, WorkerEngine
from tests.processes import completed, result, until

pytestmark = pytest.mark.django_db(transaction=True)

_FILES = sorted(Path(__file__).parent.glob("engine_*.py"))
ENGINES = [
    engine for file in _FILES for engine in import_module(f"tests.engines.{file.stem}").ENGINES
]


@pytest.fixture(scope="module", params=ENGINES, ids=str)
def running_engine(request, tmp_path_factory, django_db_setup):
    engine = request.param
    if engine.extra:
        pytest.importorskip(engine.extra)
    with ExitStack() as stack:
        stack.callback(engine.stop)
        engine.start(tmp_path_factory.mktemp(engine.name))
        yield engine


@pytest.fixture
def engine(running_engine, durable_settings):
    """The engine, as it is with the settings of its worker processes."""
    durable_settings(**SETTINGS)
    yield running_engine
    running_engine.reset()


@pytest.fixture
def worker(engine, tmp_path):
    with engine.worker(tmp_path):
        yield


def only(engine, attribute, why):
    if not getattr(engine, attribute):
        pytest.skip(f"{engine.name}: {why}")


def start(code, functions, **inputs):
    return OrchestratorService().start_execution(code, functions, inputs)


def output(code, functions, **inputs):
    """The output of a workflow, when it is completed."""
    execution_id = start(code, functions, **inputs)
    return output_of(execution_id)


def output_of(execution_id):
    finished = Execution.objects.filter(pk=execution_id, finished_at__isnull=False)
    until(finished.exists, "the workflow is finished")
    return result(execution_id)


def lines(path):
    return path.read_text().split() if path.exists() else []


def call_of(function):
    return Call.objects.get(function=function)


# --- values ---


def test_results(worker):
    code = """
from asyncio import gather

first = await gather(total(x, 1), total(x, 2), total(x, 3))
await total(*first)
"""
    assert output(code, ["total"], x=5) == 21
    calls = Call.objects.values_list("status", "attempt", "losses")
    assert set(calls) == {(CallStatus.COMPLETED, 1, 0)}


PLAIN = [None, True, -1, 2**40, 1.5, "ä€😀\n", [], {}, {"a": [1, {"b": None}]}]


def test_plain_values_survive(worker):
    assert output("await same(value)", ["same"], value=PLAIN) == PLAIN
    assert output("await same(value=value)", ["same"], value=PLAIN) == PLAIN


TYPED = [
    datetime(2026, 1, 31, 12, tzinfo=UTC),
    date(2026, 1, 31),
    timedelta(days=1, seconds=2),
    Decimal("1.10"),
    b"\x00\xff",
    (1, (2,)),
    {1, 2},
    {1: "a", (2, 3): "b"},
    uuid.UUID(int=7),
    2**100,
]


def test_types_survive(engine, worker):
    if not engine.keeps_types:
        pytest.skip("values are JSON")
    found = output("await same(value)", ["same"], value=TYPED)
    # A UUID is a text in the sandbox.
    expected = [str(each) if isinstance(each, uuid.UUID) else each for each in TYPED]
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]


def test_arguments_that_json_has_not(engine, worker):
    """They are refused here, before anything is sent, and the message says where they stand."""
    if engine.keeps_types:
        pytest.skip("all types survive")
    code = """
try:
    await same({"rows": [1, value]})
except TypeError as exc:
    caught = str(exc)
caught
"""
    message = output(code, ["same"], value=Decimal("1.10"))
    assert "same()" in message
    assert "Decimal" in message
    assert "rows" in message
    assert call_of("same").attempt == 1


def test_large_values(worker):
    size = 900_000
    code = "text = await text_of(size)\nawait same(text)"
    assert output(code, ["text_of", "same"], size=size) == "x" * size


def test_a_result_that_is_too_large(worker):
    code = """
try:
    await text_of(size)
except Exception as exc:
    caught = str(exc)
caught
"""
    assert "text_of() returned what cannot be stored" in output(code, ["text_of"], size=1_100_000)


def test_a_result_that_cannot_be_stored(worker):
    code = """
try:
    await no_value()
except TypeError as exc:
    caught = str(exc)
caught
"""
    message = output(code, ["no_value"])
    assert re.search("returned what (cannot be stored|JSON cannot carry)", message), message
    assert call_of("no_value").attempt == 1


def test_the_next_turn_comes_soon(engine, worker):
    """From the end of a function to the turn that it is followed by: nobody waits for a poll.
    `pytest -s` shows the times."""
    only(engine, "tells", "the worker asks for its jobs now and then")
    code = "for number in range(21):\n    await time_of_end(number)"
    output(code, ["time_of_end"])
    calls = list(Call.objects.order_by("call_id"))
    waits = sorted(
        after.created_at.timestamp() - json.loads(call.result)
        for call, after in itertools.pairwise(calls)
    )
    median, late = waits[len(waits) // 2], waits[-2]
    print(f"{engine}: p50 {1000 * median:.0f} ms, p95 {1000 * late:.0f} ms")
    # 0.05 s on an idle machine; a poll would make it 0.5 s.
    assert median < 0.25, waits


# --- failures ---


def test_a_failure(worker):
    code = """
try:
    await fail_as("ValueError", text)
except ValueError as exc:
    caught = str(exc)
caught
"""
    text = "no such order:\n  'ä'"
    assert output(code, ["fail_as"], text=text) == text
    call = call_of("fail_as")
    assert (call.status, call.attempt) == (CallStatus.FAILED, 1)
    assert (call.error_type, call.error_message) == ("ValueError", text)
    assert "in fail_as" in call.error_traceback


def test_a_failure_of_a_type_of_their_own(worker):
    code = """
try:
    await fail_as("OutOfStock", "none left")
except Exception as exc:
    caught = str(exc)
caught
"""
    assert "none left" in output(code, ["fail_as"])
    call = call_of("fail_as")
    assert (call.error_type, call.error_message) == ("OutOfStock", "none left")


def test_retries(worker, tmp_path):
    path = tmp_path / "calls"
    assert output("await succeed_at(path, 3)", ["succeed_at"], path=str(path)) == 3
    assert call_of("succeed_at").attempt == 3
    attempts = Attempt.objects.order_by("number").values_list("error_type", "error_message")
    assert list(attempts) == [("ConnectionError", "call 1"), ("ConnectionError", "call 2")]


def test_retries_end(worker, tmp_path):
    path = tmp_path / "calls"
    code = """
try:
    await succeed_at(path, 9)
except OSError as exc:
    caught = str(exc)
caught
"""
    assert output(code, ["succeed_at"], path=str(path)) == "call 3"
    assert len(lines(path)) == 3


def test_a_time_out(worker, tmp_path):
    code = """
try:
    await overrun_soon(started)
except TimeoutError as exc:
    caught = str(exc)
caught
"""
    started = tmp_path / "started"
    assert "overrun_soon() " in output(code, ["overrun_soon"], started=str(started))
    assert len(lines(started)) == 1


def unknown(x):
    """What no other process has: the test registers it."""


unknown.__module__ = "tests.engines.nowhere"


def test_a_function_that_is_unknown_there(engine, worker, register):
    only(engine, "may_lack_functions", "its workers claim only what they have")
    register("unknown", unknown)
    code = """
try:
    await unknown(1)
except Exception as exc:
    caught = str(exc)
caught
"""
    execution_id = start(code, ["unknown"])
    finished = Execution.objects.filter(pk=execution_id, finished_at__isnull=False)
    attempts = Attempt.objects.filter(error_type="UnknownFunction")
    until(lambda: finished.exists() or attempts.exists(), "an attempt failed")
    if attempts.exists():
        # It may be tried again: another process may know it, in the middle of a deploy.
        assert "'unknown'" in attempts.get().error_message
    else:
        assert re.search("unknown|nowhere", result(execution_id))
    # The next one runs.
    assert output("await total(1, 2)", ["total"]) == 3


# --- jobs that wait ---


def wait_for_job(engine):
    return until(engine.waiting_jobs, "a job waits in the engine")


def test_withdrawn_calls_are_revoked(engine, tmp_path):
    only(engine, "can_revoke", "it cannot revoke")
    path = tmp_path / "ran"
    engine.stop_workers()
    with engine.worker(tmp_path):
        execution_id = start("await jot(path, 'ran')", ["jot"], path=str(path))
        wait_for_job(engine)
        OrchestratorService().cancel_execution(execution_id, "not wanted", grace=0)
        until(lambda: not engine.waiting_jobs(), "the job is taken away")
        engine.start_workers()
        assert output("await total(1, 2)", ["total"]) == 3
    assert lines(path) == []
    assert call_of("jot").error_type == "durable_monty.Cancelled"


def test_a_job_that_the_engine_forgot(engine, tmp_path):
    only(engine, "has_broker", "a job is the call's row")
    path = tmp_path / "ran"
    engine.stop_workers()
    with engine.worker(tmp_path):
        execution_id = start("await jot(path, 'ran')", ["jot"], path=str(path))
        wait_for_job(engine)
        engine.forget_jobs()
        engine.start_workers()
        assert output_of(execution_id) == "ran"
    assert lines(path) == ["ran"]


def test_a_job_that_waits_longer_than_its_lease(engine, tmp_path):
    """It runs once: what waits in the engine is not submitted again."""
    only(engine, "has_broker", "a job is the call's row")
    path = tmp_path / "ran"
    engine.stop_workers()
    with engine.worker(tmp_path):
        execution_id = start("await jot(path, 'ran')", ["jot"], path=str(path))
        first = wait_for_job(engine)
        call = call_of("jot")
        until(
            lambda: database_now("default") > call.due_at + timedelta(seconds=1),
            "its first lease is over",
        )
        assert engine.waiting_jobs() == first
        engine.start_workers()
        assert output_of(execution_id) == "ran"
    assert lines(path) == ["ran"]
    assert call_of("jot").attempt == 1


def test_a_job_that_is_delivered_twice(engine, tmp_path):
    only(engine, "has_broker", "a job is the call's row")
    path = tmp_path / "ran"
    engine.stop_workers()
    with engine.worker(tmp_path):
        execution_id = start(
            "await jot(path, 'ran')\nawait total(1, 2)", ["jot", "total"], path=str(path)
        )
        wait_for_job(engine)
        engine.repeat_jobs()
        engine.start_workers()
        assert output_of(execution_id) == 3
        # Their turn comes after what was delivered twice.
        assert output("await total(2, 2)", ["total"]) == 4
    call = call_of("jot")
    assert (call.status, call.attempt) == (CallStatus.COMPLETED, 1)
    if engine.mode == "django":
        assert lines(path) == ["ran"]


# --- crashes ---


def start_waiting(tmp_path, count=1):
    """Workflows, each with a function that runs until `tmp_path / "go"` is there."""
    return [
        start(
            "await wait_for(path, started)",
            ["wait_for"],
            path=str(tmp_path / "go"),
            started=str(tmp_path / f"started-{number}"),
        )
        for number in range(count)
    ]


def test_workers_that_are_killed(engine, tmp_path):
    """kill -9 while a function runs: it runs again when its lease is over."""
    only(engine, "has_workers", "it has no workers")
    with engine.worker(tmp_path, killable=True):
        (execution_id,) = start_waiting(tmp_path)
        started = tmp_path / "started-0"
        until(lambda: lines(started), "the function runs")
        engine.kill_workers()
        engine.start_workers()
        until(lambda: len(lines(started)) == 2, "it runs again")
        (tmp_path / "go").touch()
        assert output_of(execution_id) == "done"
    call = call_of("wait_for")
    # Where the worker itself is killed, the call may be lost before it has a row.
    assert call.attempt == 2 or (isinstance(engine, WorkerEngine) and call.attempt == 1)


def test_a_broker_that_is_away(engine, tmp_path):
    """What runs, what waits and what comes meanwhile: all of it is done when it is back."""
    only(engine, "has_broker", "it has no broker")
    with engine.worker(tmp_path):
        (running,) = start_waiting(tmp_path)
        until(lambda: lines(tmp_path / "started-0"), "the function runs")
        waiting = [start("await total(x, 1)", ["total"], x=x) for x in range(5)]
        engine.stop_broker()
        came = [start("await total(x, 1)", ["total"], x=x) for x in range(5, 10)]
        calls = Call.objects.filter(function="total")
        until(lambda: calls.count() == 10, "the calls are made")
        (tmp_path / "go").touch()
        engine.start_broker()
        assert [output_of(each) for each in (*waiting, *came)] == list(range(1, 11))
        assert output_of(running) == "done"
    assert set(Call.objects.values_list("status", flat=True)) == {CallStatus.COMPLETED}


def test_an_orderly_stop_leaves_nothing_undone(engine, tmp_path):
    """A worker that is replaced: the answers of its jobs reach the next one."""
    only(engine, "has_broker", "its workers end with it")
    with engine.worker(tmp_path):
        (execution_id,) = start_waiting(tmp_path)
        until(lambda: lines(tmp_path / "started-0"), "the function runs")
    assert not completed(execution_id)
    (tmp_path / "go").touch()
    with engine.worker(tmp_path):
        assert output_of(execution_id) == "done"
    assert Execution.objects.get().status == ExecutionStatus.COMPLETED

"""What is RQ's own, beyond the conformance suite."""

import inspect
import os
import signal
import traceback
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

import durable_monty
from durable_monty import OrchestratorService
from durable_monty.exceptions import ExecutorUnavailable, NonRetryable
from durable_monty.executors.loading import make_executor
from durable_monty.executors.local import LocalExecutor
from durable_monty.executors.result_mode import check_plain_json, describe_traceback
from durable_monty.models import Attempt, Call, CallStatus
from tests.documents import tables
from tests.engines.brokers import redis_server
from tests.engines.conformance import SETTINGS, in_thread
from tests.engines.engine_rq import RQEngine, Supervisor
from tests.processes import alive, completed, result, until

rq = pytest.importorskip("rq")
redis = pytest.importorskip("redis")

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = Path(durable_monty.__file__).parent / "docs" / "how-to" / "rq.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def client(server):
    found = redis.Redis.from_url(server.url)
    yield found
    found.flushall()


@pytest.fixture(scope="module")
def running_engine(tmp_path_factory, django_db_setup):
    engine = RQEngine("result")
    engine.start(tmp_path_factory.mktemp("rq"))
    yield engine
    engine.stop()


@pytest.fixture
def engine(running_engine, durable_settings):
    """RQ workers without Django."""
    durable_settings(**SETTINGS)
    yield running_engine
    running_engine.reset()


def start(code, functions, **inputs):
    return OrchestratorService().start_execution(code, functions, inputs)


# --- what comes back as text ---


class OutOfStock(Exception):
    pass


def chained():
    try:
        raise KeyError("first")
    except KeyError as exc:
        raise ValueError("second\nline") from exc


def followed():
    try:
        raise KeyError("first")
    except KeyError:
        raise OutOfStock("second")  # noqa: B904


def raised(*, error):
    raise error


def noted():
    error = ValueError("told")
    error.add_note("a note")
    raise error


@pytest.mark.parametrize(
    ("function", "options", "error_type", "message"),
    [
        (raised, {"error": ValueError("no: really")}, "ValueError", "no: really"),
        (raised, {"error": ValueError("a\n\n  b\nc: d")}, "ValueError", "a\n\n  b\nc: d"),
        (raised, {"error": ValueError()}, "ValueError", ""),
        (raised, {"error": KeyError("x")}, "KeyError", "'x'"),
        (raised, {"error": OutOfStock("none")}, f"{__name__}.OutOfStock", "none"),
        (chained, {}, "ValueError", "second\nline"),
        (followed, {}, f"{__name__}.OutOfStock", "second"),
        (noted, {}, "ValueError", "told\na note"),
    ],
)
def test_the_exception_of_a_traceback(function, options, error_type, message):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(**options)
    text = "".join(traceback.format_exception(caught.value))
    assert describe_traceback(text) == (error_type, message)


@pytest.mark.parametrize("text", ["", "Work-horse terminated", "ValueError: no frames"])
def test_text_that_is_no_traceback(text):
    assert describe_traceback(text) is None


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ([Decimal(1)], {}, "no Decimal (args[0])"),
        ([[{"a": {1}}]], {}, "no set (args[0][0]['a'])"),
        ([], {"when": b""}, "no bytes (kwargs['when'])"),
        ([{1: 2}], {}, "no key of the type int (args[0])"),
    ],
)
def test_arguments_that_json_has_not(args, kwargs, found):
    with pytest.raises(NonRetryable) as caught:
        check_plain_json("pay", args, kwargs)
    assert str(caught.value.__cause__) == (
        f"pay() runs where values are JSON, which has {found}. Pass a text or a number instead, "
        "or run the function where Django is."
    )


def test_arguments_that_json_has():
    check_plain_json("pay", [None, True, 1, 1.5, "a", [(1,)]], {"a": {"b": []}})


# --- options ---


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mode": "both"}, "mode is 'both'; use 'django' or 'result'"),
        ({"prefetch": 0}, "prefetch is 0; it must be at least 1"),
        ({"poll": 0}, "poll is 0; it must be more than 0 seconds"),
        ({"url": "http://127.0.0.1"}, "Redis URL must specify one of the following schemes"),
        ({"queue": "x"}, "unexpected keyword argument 'queue'"),
        (
            {"connection": redis.Redis(decode_responses=True)},
            "connection decodes responses, which RQ cannot work with",
        ),
        (
            {"connection": redis.Redis(socket_timeout=None)},
            "connection has no socket_timeout: a Redis that hangs would hang us",
        ),
    ],
)
def test_wrong_options(durable_settings, options, why):
    durable_settings(EXECUTORS={"rq": options})
    with pytest.raises(ImproperlyConfigured) as caught:
        make_executor("rq")
    assert why in str(caught.value)


def test_a_connection_of_the_projects_own(client):
    executor = make_executor_with(connection=redis.Redis.from_url(url_of(client)))
    assert executor.get_stats() == {
        "queue": "durable_monty",
        "mode": "django",
        "waiting": 0,
        "running": 0,
        "workers": 0,
    }


def url_of(client):
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


def make_executor_with(**options):
    from durable_monty.executors.rq import RQExecutor

    return RQExecutor(**options)


def test_table_of_options():
    from durable_monty.executors.rq import RQExecutor

    parameters = inspect.signature(RQExecutor).parameters.values()
    documented = [row[0].strip("`") for row in tables(DOCUMENT)["Options"]]
    assert documented == [f"{each.name}={each.default!r}".replace("'", '"') for each in parameters]


# --- Redis ---


def test_a_redis_that_is_down():
    executor = make_executor_with(url="redis://127.0.0.1:1/0")
    for method in (executor.check_job, executor.is_queued, executor.revoke_job):
        with pytest.raises(ExecutorUnavailable, match="The executor 'rq' cannot reach its engine"):
            method("1-00000000000000000000000000000000")
    assert "Connection refused" in executor.get_stats()["error"]


def test_a_redis_that_hangs_slows_nobody_else(server, client, register, log, durable_settings):
    durable_settings(**SETTINGS)
    register("far", lambda: None, executor="rq")
    executor = make_executor_with(url=f"{server.url}?socket_timeout=1")
    with in_thread(LocalExecutor(2), executor):
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            start("await far()", ["far"])
            until(Call.objects.filter(function="far").exists, "the call is made")
            mine = start("await total(1, 2)", ["total"])
            until(lambda: completed(mine), "other work goes on")
            until(lambda: "cannot reach its engine" in log.text, "it is told")
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        waiting = "rq:queue:durable_monty"
        until(lambda: client.llen(waiting) >= 1, "the call is submitted when Redis is back")
    assert Call.objects.get(function="far").failures == 0


# --- jobs ---


def test_nothing_is_left_in_redis(engine, tmp_path):
    """What succeeded is deleted at once; what failed, after `result_ttl`."""
    client = engine._client()
    client.flushall()
    with engine.worker(tmp_path):
        ids = [
            start("await total(1, 2)", ["total"]),
            start("try:\n    await fail_as('ValueError', 'no')\nexcept ValueError:\n    0",
                  ["fail_as"]),
        ]  # fmt: skip
        for execution_id in ids:
            until(lambda each=execution_id: completed(each), "the workflow is completed")
        failed = Call.objects.get(function="fail_as").job_id
        jobs = [f"rq:job:{failed}".encode()]
        until(lambda: client.keys("rq:job:*") == jobs, "the other one is deleted")
    results = [f"rq:results:{failed}".encode()]
    own = client.keys("rq:results:durable_monty-*")
    assert set(client.keys("rq:results:*")) == {*results, *own}
    assert all(0 < client.ttl(key) <= 86_400 for key in (*jobs, *results, *own))
    assert client.zcard("rq:finished:conformance") == 0


def test_a_withdrawn_call_that_runs_is_stopped(engine, tmp_path):
    started = tmp_path / "started"
    with engine.worker(tmp_path):
        execution_id = start(
            "await wait_for(path, started)",
            ["wait_for"],
            path=str(tmp_path / "never"),
            started=str(started),
        )
        pid = int(until(lambda: started.exists() and started.read_text(), "it runs"))
        OrchestratorService().cancel_execution(execution_id, "not wanted", grace=0)
        until(lambda: not alive(pid), "its process is ended")
        # The worker goes on.
        after = start("await total(1, 2)", ["total"])
        until(lambda: completed(after), "the next call runs")


def test_a_function_that_kills_its_process_is_given_up(engine, tmp_path):
    with engine.worker(tmp_path):
        execution_id = start(
            "try:\n    await die()\nexcept Exception as exc:\n    caught = str(exc)\ncaught",
            ["die"],
        )
        until(lambda: completed(execution_id), "the workflow is completed")
    assert "die() was given up: its worker vanished 3 times in a row" in result(execution_id)
    assert Attempt.objects.filter(outcome="lost").count() == 3


def test_a_job_that_was_taken_and_did_not_begin(engine, tmp_path, monkeypatch):
    """Its worker died in between: RQ itself would fail it after ten minutes."""
    monkeypatch.setattr("durable_monty.executors.rq.executor._IN_BETWEEN", 0.5)
    client = engine._client()
    engine.stop_workers()
    with engine.worker(tmp_path):
        execution_id = start("await total(1, 2)", ["total"])
        (first,) = until(engine.waiting_jobs, "a job waits")
        queue = "rq:queue:conformance"
        client.lmove(queue, f"{queue}:intermediate", "LEFT", "RIGHT")
        (second,) = until(engine.waiting_jobs, "it is submitted again")
        assert second != first
        engine.start_workers()
        until(lambda: completed(execution_id), "the workflow is completed")
    client.delete(f"{queue}:intermediate")
    call = Call.objects.get()
    assert (call.attempt, call.losses) == (2, 0)


@contextmanager
def rq_worker(directory, server, *arguments):
    """One RQ worker on the default queue, without a configuration."""
    from tests.engines.engine_rq import _RQ
    from tests.processes import ROOT

    supervisor = Supervisor(
        directory,
        *(_RQ, "worker", "durable_monty", "--url", server.url, "--path", ROOT, *arguments),
        env={"DJANGO_SETTINGS_MODULE": "nowhere"},
        count=1,
    )
    supervisor.start()
    try:
        yield
    finally:
        supervisor.kill()


def test_a_worker_that_reads_no_json(server, client, tmp_path, durable_settings):
    durable_settings(**SETTINGS)
    executor = make_executor_with(url=server.url, mode="result")
    with rq_worker(tmp_path, server), in_thread(executor):
        execution_id = start(
            "try:\n    await total(1)\nexcept RuntimeError as exc:\n    caught = str(exc)\ncaught",
            ["total"],
        )
        until(lambda: completed(execution_id), "the workflow is completed")
    assert result(execution_id) == (
        "The RQ worker cannot read JSON: start it with --serializer json."
    )


def test_a_worker_without_django(server, client, tmp_path, durable_settings, log):
    """Nobody could be told but the log; the call waits for a worker that can run it."""
    durable_settings(**SETTINGS)
    executor = make_executor_with(url=server.url)
    with rq_worker(tmp_path, server, "--serializer", "json"), in_thread(executor):
        start("await total(1)", ["total"])
        until(lambda: "failed before it ran its call" in log.text, "it is told")
    error = next(each for each in log.records if each.levelname == "ERROR")
    assert error.message.endswith(
        " failed before it ran its call: does its worker have Django, the functions and "
        "--serializer json? ValueError: Invalid attribute name: run_job"
    )
    call = Call.objects.get()
    assert (call.attempt, call.is_open) == (0, True)
    assert call.status in (CallStatus.PENDING, CallStatus.SUBMITTED)

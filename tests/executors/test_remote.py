"""Executors whose jobs run elsewhere, with an engine in this process that can misbehave."""

import logging
import threading
import time
import traceback
from collections import deque

import pytest

from durable_monty import OrchestratorService, Retry, Worker, operations
from durable_monty.engine.jobs import Jobs
from durable_monty.exceptions import CallSettled, ExecutorUnavailable, JobNotFound, LeaseLost
from durable_monty.executors.local import LocalExecutor
from durable_monty.executors.remote import QueueExecutor, job_id_of, run_job
from durable_monty.models import Attempt, Call, CallStatus, Execution
from durable_monty.operations.answer import Answer, ClaimedCall
from tests.processes import until
from tests.support import advance, started_call

pytestmark = pytest.mark.django_db(transaction=True)


class Engine:
    """A queue, and one thread that works it off while it is not held up."""

    def __init__(self):
        self.queue, self.ends, self.revoked, self.submitted = deque(), {}, [], []
        self.goes_on, self.is_down, self.is_over = threading.Event(), False, False
        self.hangs = threading.Event()
        self.hangs.set()
        self.goes_on.set()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def put(self, job_id, job):
        self.hangs.wait()
        if self.is_down:
            raise ExecutorUnavailable("fake", "it is down")
        self.submitted.append(job_id)
        self.queue.append((job_id, job))

    def work(self):
        from django.db import connections

        while not self.is_over:
            if self.goes_on.is_set() and self.queue:
                job_id, job = self.queue.popleft()
                self.ends[job_id] = job()
            else:
                connections.close_all()
                time.sleep(0.005)


class FakeExecutor(QueueExecutor):
    name = "fake"

    def __init__(self, engine, tells=True, **options):
        super().__init__(**options)
        self.engine, self.tells = engine, tells

    def enqueue_claimed(self, call, job_id):
        self.engine.put(job_id, lambda: run_job(call.pk, call.claim.hex, self.using))

    def enqueue_function(self, call, job_id, path, args, kwargs):
        from durable_monty import FUNCTION_REGISTRY

        function = FUNCTION_REGISTRY[call.function]
        assert path == function.place

        def job():
            try:
                end = {"status": "finished", "result": function(*args, **kwargs)}
            except Exception as exc:
                end = {
                    "status": "failed",
                    "error": str(exc),
                    "error_type": f"{type(exc).__module__}.{type(exc).__name__}",
                    "traceback": traceback.format_exc(),
                }
            if self.tells:
                self.deliver(job_id, end)
            return end

        self.engine.put(job_id, job)

    def is_queued(self, job_id):
        return any(queued == job_id for queued, _job in self.engine.queue)

    def check_job(self, job_id):
        if job_id in self.engine.ends:
            return self.engine.ends[job_id]
        if job_id not in self.engine.submitted:
            raise LookupError(job_id)
        return {"status": "queued" if self.is_queued(job_id) else "started"}

    def revoke_job(self, job_id):
        self.engine.revoked.append(job_id)
        self.engine.queue = deque(item for item in self.engine.queue if item[0] != job_id)

    def get_stats(self):
        return {"queued": len(self.engine.queue)}


@pytest.fixture
def engine():
    made = Engine()
    yield made
    made.is_over = True
    made.goes_on.set()
    made.hangs.set()
    made.thread.join()


@pytest.fixture
def working():
    """Runs a worker in a thread; it is stopped at the end."""
    workers = []

    def begin(*executors):
        worker = Worker(OrchestratorService(), list(executors))
        thread = threading.Thread(target=run_and_close, args=(worker,))
        thread.start()
        workers.append((worker, thread))
        return worker

    def run_and_close(worker):
        from django.db import connections

        try:
            worker.run()
        finally:
            connections.close_all()

    yield begin
    for worker, thread in workers:
        worker.stop()
        thread.join()


def start(code, functions, **inputs):
    return OrchestratorService().start_execution(code, functions, inputs)


def output(execution_id):
    return OrchestratorService().wait(execution_id, timeout=20)


MODES = pytest.mark.parametrize(
    "options",
    [{"mode": "django"}, {"mode": "result"}, {"mode": "result", "tells": False}],
    ids=["django", "told", "asked"],
)


@MODES
def test_results_and_errors(engine, working, options):
    working(FakeExecutor(engine, **options))
    execution_id = start(
        """
from asyncio import gather
caught = []
for kind in ("ValueError", "OutOfStock"):
    try:
        await fail(kind, "no")
    except Exception as exc:
        caught.append((type(exc).__name__, str(exc), error_type(exc)))
[await gather(add(1, 2), add(3, 4)), caught]
""",
        ["add", "fail"],
    )
    sums, caught = output(execution_id)
    assert sums == [3, 7]
    assert caught == [
        ("ValueError", "no", "ValueError"),
        ("Exception", "no", "OutOfStock"),
    ]
    failed = Call.objects.get(execution=execution_id, error_type="OutOfStock")
    assert "in fail" in failed.error_traceback
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


@MODES
def test_the_functions_policy_decides_about_retries(engine, working, register, options):
    tries = []

    class Busy(ConnectionError):
        pass

    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError("reset")
        raise Busy("still")

    register("flaky", flaky, retry=Retry(5, initial=0.01, non_retryable=(Busy,)))
    working(FakeExecutor(engine, **options))
    execution_id = start(
        "try:\n    await flaky()\nexcept Exception as exc:\n    said = str(exc)\nsaid", ["flaky"]
    )
    assert output(execution_id) == "still"
    assert len(tries) == 3
    assert list(Attempt.objects.order_by("number").values_list("error_type", flat=True)) == [
        "ConnectionResetError",
        "ConnectionResetError",
        "Busy",
    ]


def counts():
    return Call.objects.values_list("attempt", "failures", "losses").get()


@MODES
def test_an_engine_that_is_down_loses_nothing(engine, working, options, log, monkeypatch):
    monkeypatch.setattr("durable_monty.engine.jobs._FIRST_PAUSE", 0.05)
    engine.is_down = True
    worker = working(FakeExecutor(engine, **options))
    (jobs,) = worker._all_jobs
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: jobs._pause > 0.1, "it was tried several times")
    # Not in the middle of a try.
    until(lambda: counts() == (0, 0, 0), "nothing was counted")
    engine.is_down = False
    assert output(execution_id) == 3
    assert counts() == (1, 0, 0)
    said = [record for record in log.records if "not submitted" in record.getMessage()]
    assert [(record.levelno, record.executor) for record in said] == [(logging.WARNING, "fake")]
    assert "it is down" in said[0].getMessage()


@MODES
def test_an_engine_that_hangs_slows_nobody(engine, working, register, options):
    register("remote_add", lambda a, b: a + b, executor="fake")
    engine.hangs.clear()
    working(LocalExecutor(2), FakeExecutor(engine, **options))
    hung = start("await remote_add(1, 2)", ["remote_add"])
    until(lambda: Call.objects.filter(status=CallStatus.SUBMITTED), "it was claimed")
    for number in range(3):
        assert output(start("await add(n, 1)", ["add"], n=number)) == number + 1
    assert not engine.submitted
    engine.hangs.set()
    assert output(hung) == 3


@pytest.mark.parametrize("mode", ["django", "result"])
def test_withdrawn_calls_are_revoked(engine, working, mode, service):
    engine.goes_on.clear()
    working(FakeExecutor(engine, mode=mode))
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: engine.submitted, "it was submitted")
    service.terminate_execution(execution_id)
    until(lambda: engine.revoked == engine.submitted, "it was revoked")
    assert not engine.queue


def test_calls_that_were_answered_by_hand_are_revoked(engine, working, service):
    engine.goes_on.clear()
    working(FakeExecutor(engine, mode="result"))
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: engine.submitted, "it was submitted")
    service.complete_call(execution_id, 0, 30)
    assert output(execution_id) == 30
    until(lambda: engine.revoked == engine.submitted, "it was revoked")


def test_what_waits_in_the_engine_beyond_its_lease_is_submitted_once(
    engine, working, durable_settings
):
    durable_settings(LEASE=1.0)
    engine.goes_on.clear()
    working(FakeExecutor(engine))
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: engine.submitted, "it was submitted")
    time.sleep(3)
    engine.goes_on.set()
    assert output(execution_id) == 3
    assert len(engine.submitted) == 1
    assert Call.objects.get().attempt == 1


def test_a_job_that_the_engine_lost_comes_back_by_its_lease(engine, working, durable_settings):
    durable_settings(LEASE=1.0)
    engine.goes_on.clear()
    working(FakeExecutor(engine))
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: engine.submitted, "it was submitted")
    engine.queue.clear()
    engine.goes_on.set()
    assert output(execution_id) == 3
    call = Call.objects.get()
    assert (len(engine.submitted), call.attempt, call.losses) == (2, 1, 0)


def test_a_job_that_is_unknown_is_submitted_again(engine, working):
    engine.goes_on.clear()
    working(FakeExecutor(engine, mode="result", tells=False))
    execution_id = start("await add(1, 2)", ["add"])
    until(lambda: engine.submitted, "it was submitted")
    (lost,) = engine.submitted
    engine.queue.clear()
    engine.submitted.clear()
    engine.goes_on.set()
    assert output(execution_id) == 3
    assert engine.submitted != [lost]


@pytest.mark.parametrize("mode", ["django", "result"])
def test_an_engine_that_cannot_be_asked_is_asked_once(engine, mode, move_clock):
    """To be refused by it may take seconds; with a hundred jobs, their leases would run out."""
    engine.goes_on.clear()
    asked = []

    class Silent(FakeExecutor):
        def is_queued(self, job_id):
            asked.append(job_id)
            raise ExecutorUnavailable("fake", "it does not answer")

        check_job = is_queued

    execution_id = start(
        "from asyncio import gather\nawait gather(*[add(i, 1) for i in range(6)])", ["add"]
    )
    advance(execution_id)
    jobs = Jobs(Silent(engine, mode=mode, tells=False), "default")
    assert jobs.submit() == 6
    due = {call.pk: call.due_at for call in Call.objects.all()}
    move_clock(1)
    jobs.tend()
    jobs.check()
    assert len(asked) == 1
    assert all(call.due_at > due[call.pk] for call in Call.objects.all())


def test_a_full_engine_is_given_more_as_soon_as_jobs_have_begun(engine, working, monkeypatch):
    """Not at the usual look: that would be `prefetch` calls a second at most."""
    monkeypatch.setattr("durable_monty.engine.jobs._TEND_INTERVAL", 1000.0)
    working(FakeExecutor(engine, prefetch=2))
    execution_id = start(
        "from asyncio import gather\nawait gather(*[add(i, 1) for i in range(40)])", ["add"]
    )
    assert output(execution_id) == list(range(1, 41))


def test_no_more_than_prefetch_wait_in_the_engine(engine, working):
    engine.goes_on.clear()
    working(FakeExecutor(engine, prefetch=2))
    execution_id = start(
        "from asyncio import gather\nawait gather(*[add(i, 1) for i in range(6)])", ["add"]
    )
    until(lambda: len(engine.submitted) == 2, "as many as may wait")
    time.sleep(0.3)
    assert len(engine.submitted) == 2
    engine.goes_on.set()
    assert output(execution_id) == [1, 2, 3, 4, 5, 6]


def test_a_job_that_comes_twice_runs_once(register):
    ran = []
    register("count", lambda: ran.append(1))
    execution_id = start("await count()", ["count"])
    advance(execution_id)
    (claimed,) = operations.claim_calls(["count"], ["default"], 1, using="default")
    run_job(claimed.pk, claimed.token.hex)
    run_job(claimed.pk, claimed.token.hex)
    assert ran == [1]
    assert Call.objects.get().status == CallStatus.COMPLETED


def test_a_process_that_does_not_know_the_function(register, log, move_clock, monkeypatch):
    """Another process may know it; after some tries the call fails, and says why."""
    from durable_monty import FUNCTION_REGISTRY

    register("strange", lambda: 1)
    execution_id = start("await strange()", ["strange"])
    advance(execution_id)
    for tries in range(1, 7):
        (claimed,) = operations.claim_calls(["strange"], ["default"], 1, using="default")
        entry = FUNCTION_REGISTRY["strange"]
        with monkeypatch.context() as patch:
            patch.delitem(FUNCTION_REGISTRY._functions, "strange")
            run_job(claimed.pk, claimed.token.hex)
        assert FUNCTION_REGISTRY["strange"] is entry
        call = Call.objects.get()
        assert call.is_open == (tries < 6)
        move_clock(1000)
    assert call.error_type == "UnknownFunction"
    assert "did not find it in" in call.error_message
    assert [record.levelname for record in log.records if "unknown here" in record.message]


def claimed_job():
    call = started_call()
    (claimed,) = operations.claim_calls(["add"], ["default"], 1, using="default")
    (call,) = operations.start_attempts([claimed], using="default")
    return call, job_id_of(call)


def settle(job_id, answer, **options):
    return operations.settle_job(job_id, answer, using="default", **options)


def test_an_answer_by_job_id_counts_once():
    call, job_id = claimed_job()
    three = Answer.of_result(3, "add")
    assert settle(job_id, three) is True
    assert settle(job_id, three) is False
    with pytest.raises(CallSettled):
        settle(job_id, Answer.of_result(4, "add"))
    call.refresh_from_db()
    assert call.result == "3"


def test_an_engines_own_job_id():
    call, _job_id = claimed_job()
    operations.watch_job(ClaimedCall.of(call), "fc-1", 0.0, using="default")
    assert settle("fc-1", Answer.of_result(3, "add")) is True
    assert settle("fc-1", Answer.of_result(3, "add")) is False


def test_the_token_stays_while_its_job_is_asked_for():
    call, job_id = claimed_job()
    operations.watch_job(ClaimedCall.of(call), job_id, 0.0, using="default")
    (asked,) = operations.claim_jobs(["default"], 10, using="default")
    assert asked.claim == call.claim
    assert not operations.claim_jobs(["default"], 10, using="default")
    assert settle(job_id, Answer.of_result(3, "add")) is True


@pytest.mark.parametrize(
    "job_id", ["", "-", "1", "fc-unknown", "99999-" + "0" * 32, "9" * 30 + "-" + "0" * 32, "²-x"]
)
def test_unknown_jobs(job_id):
    claimed_job()
    with pytest.raises(JobNotFound, match="No call has the job"):
        settle(job_id, Answer.of_result(3, "add"))


def test_the_answer_of_an_attempt_that_was_replaced(move_clock):
    _call, job_id = claimed_job()
    move_clock(1000)
    (again,) = operations.claim_calls(["add"], ["default"], 1, using="default")
    with pytest.raises(LeaseLost):
        settle(job_id, Answer.of_result(3, "add"))
    assert settle(job_id_of(again), Answer.of_result(4, "add")) is True


def test_the_answer_of_a_withdrawn_call(service):
    call, job_id = claimed_job()
    service.terminate_execution(call.execution_id)
    with pytest.raises(CallSettled):
        settle(job_id, Answer.of_result(3, "add"))


@pytest.mark.parametrize(
    ("error", "options", "retried"),
    [
        ("ConnectionError", {}, True),
        ("builtins.ConnectionResetError", {}, True),
        ("ValueError", {}, False),
        ("somewhere.Strange", {}, False),
        ("ConnectionError", {"is_final": True}, False),
        ("ValueError", {"retry_after": 60.0}, True),
        ("durable_monty.exceptions.NonRetryable", {}, False),
    ],
)
def test_whether_a_failed_job_is_tried_again(register, error, options, retried):
    register("flaky", lambda: 1, retry=Retry(2, retry_on=(ConnectionError,)))
    execution_id = start("await flaky()", ["flaky"])
    advance(execution_id)
    (claimed,) = operations.claim_calls(["flaky"], ["default"], 1, using="default")
    (call,) = operations.start_attempts([claimed], using="default")
    settle(job_id_of(call), Answer.of_error(error, "no"), **options)
    call.refresh_from_db()
    assert call.is_open == retried
    if not retried:
        assert call.error_type == error.rpartition(".")[2]
    elif "retry_after" in options:
        assert (call.due_at - call.started_at).total_seconds() > 59


def test_refusals_in_a_batch_leave_the_others():
    call, job_id = claimed_job()
    refused = operations.settle_jobs(
        [
            ("nobody-1", {"status": "finished", "result": 1}),
            (job_id, {"status": "finished", "result": 3}),
            (job_id, {"status": "finished", "result": 3}),
        ],
        using="default",
    )
    assert [type(refusal) for refusal in refused] == [JobNotFound]
    call.refresh_from_db()
    assert call.result == "3"


def test_an_end_that_two_workers_learn_of_is_not_refused():
    call, job_id = claimed_job()
    for _ in range(2):
        told = [(job_id, {"status": "finished", "result": 3})]
        assert operations.settle_jobs(told, using="default") == []
    refused = operations.settle_jobs(
        [(job_id, {"status": "finished", "result": 4})], using="default"
    )
    assert [type(refusal) for refusal in refused] == [CallSettled]
    call.refresh_from_db()
    assert call.result == "3"


def test_a_call_that_cannot_be_submitted_goes_by_its_policy(engine, service, register, log):
    register("add_late", lambda a: a, retry=Retry(2, initial=30.0), executor="fake")

    class Picky(FakeExecutor):
        def submit_call(self, call):
            raise TypeError("this engine takes no sets")

    execution_id = service.start_execution("await add_late({1})", ["add_late"])
    advance(execution_id)
    jobs = Jobs(Picky(engine, mode="result"), "default")
    jobs.submit()
    call = Call.objects.get(execution=execution_id)
    assert (call.failures, call.is_open) == (1, True)
    assert Attempt.objects.get().error_message == "this engine takes no sets"
    assert Execution.objects.get().status != "failed"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "both"}, "mode is 'both'; use 'django' or 'result'"),
        ({"prefetch": 0}, "prefetch is 0; it must be at least 1"),
        ({"poll": 0}, "poll is 0; it must be more than 0 seconds"),
    ],
)
def test_wrong_options(engine, options, said):
    with pytest.raises(ValueError, match=said):
        FakeExecutor(engine, **options)

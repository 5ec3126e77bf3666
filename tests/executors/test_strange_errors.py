"""Whatever a function raises, its call is answered, and what runs beside it is not harmed."""

import threading

import pytest

from durable_monty import OrchestratorService, Worker
from durable_monty.executors import LocalExecutor
from durable_monty.models import Call
from tests.processes import manage, result, start
from tests.support import seven_calls_output

pytestmark = pytest.mark.django_db(transaction=True)

# By what is raised: the type that is kept, as what it arrives, and the message.
TOLD = "told"
RAISED = {
    "StrRaises": ("Exception", "(no message: str() of this StrRaises raised ValueError)"),
    "StrExits": ("Exception", "(no message: str() of this StrExits raised SystemExit)"),
    "ClassRaises": ("Exception", TOLD),
    "NotesRaise": ("Exception", TOLD),
    "CauseRaises": ("RuntimeError", TOLD),
    "Nameless": ("Exception", TOLD),
    "KeyboardInterrupt": ("RuntimeError", TOLD),
    "SystemExit": ("RuntimeError", TOLD),
    "GeneratorExit": ("RuntimeError", TOLD),
    "CancelledError": ("RuntimeError", TOLD),
    "RetryAfter": ("RuntimeError", TOLD),
    "unpicklable": ("ValueError", TOLD),
    "circle": ("ValueError", TOLD),
    "group": ("Exception", "told (2 sub-exceptions)"),
    "large": ("ValueError", None),
    "result": ("LookupError", TOLD),
}
KEPT = {
    "unpicklable": "ValueError",
    "circle": "ValueError",
    "group": "ExceptionGroup",
    "large": "ValueError",
    "result": "LookupError",
}
FUNCTIONS = (
    "raise_strange",
    "raise_strange_async",
    "raise_strange_with_row",
    "raise_strange_in_transaction",
)
LOCAL = {"EXECUTOR": "local"}


@pytest.mark.parametrize("settings", [LOCAL, {}], ids=["local", "django_q"])
def test_each_call_is_answered_once_and_the_others_go_on(tmp_path, settings):
    service, started = OrchestratorService(), {}
    for function in FUNCTIONS:
        for kind in RAISED:
            code = f"await {function}({kind!r})"
            started[function, kind] = service.start_execution(code, [function])
    last = start(1)

    options = ["--until-complete", *([] if settings else ["--workers=2"])]
    with manage(tmp_path, "runworker", *options, settings=settings) as process:
        process.ends(0)
        assert "call failed" not in process.log.read_text()

    assert result(last) == seven_calls_output(1)
    for (function, kind), execution_id in started.items():
        arrives_as, message = RAISED[kind]
        call = Call.objects.get(execution=execution_id)
        assert (call.status, call.attempt) == ("failed", 1), (function, kind)
        assert call.error_type == KEPT.get(kind, kind), function
        assert (call.raised_as or call.error_type) == arrives_as, (function, kind)
        if message is not None:
            assert call.error_message == message, function


def test_a_message_of_30_mb_and_a_group_are_kept_as_far_as_they_help(tmp_path):
    service = OrchestratorService()
    code = "await raise_strange({!r})"
    for kind in ("large", "group"):
        service.start_execution(code.format(kind), ["raise_strange"])

    Worker(service, LocalExecutor(2)).run(until_complete=True)

    large, group = Call.objects.order_by("error_type").reverse()
    cut = " … [cut, 30,000,000 characters]"
    assert (len(large.error_message), large.error_message[-len(cut) :]) == (10_000, cut)
    assert len(large.error_traceback) < 12_000
    assert "ValueError: one" in group.error_traceback
    assert "OSError: two" in group.error_traceback


def test_a_thread_that_ended_is_replaced():
    service, executor = OrchestratorService(), LocalExecutor(1)
    executor.check()
    assert executor._pool._threads == []  # an idle worker has none
    executor._pool._start_missing()
    (ended,) = executor._pool._threads
    executor._pool._jobs.put(None)  # as if a library had raised something in it
    ended.join()
    assert executor.capacity() == 0  # nothing is claimed that nobody could run

    last = start(1)
    Worker(service, executor).run(until_complete=True)

    assert result(last) == seven_calls_output(1)


def test_a_worker_whose_threads_cannot_be_started_claims_nothing(monkeypatch, log):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    executor = LocalExecutor(2)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    executor._pool._start_missing()

    assert executor.capacity() == 0
    assert [record.getMessage() for record in log.records] == [
        "thread not started: can't start new thread"
    ]

    monkeypatch.undo()
    executor.check()
    assert executor.capacity() > 0
    executor.stop(5)

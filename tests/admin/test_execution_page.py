import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from durable_monty import Retry
from durable_monty.models import Call, Execution, Program, Snapshot, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.operations import (
    Answer,
    claim_calls,
    claim_executions,
    register_worker,
    settle_attempt,
    start_attempts,
)
from durable_monty.wording.times import time_of_day
from tests.admin.pages import text_of, url_of
from tests.support import run

GATHER = """
import asyncio
await asyncio.gather(approve("it"), double(1), double(2), asyncio.sleep(3600))
"""


def pointed_at(response):
    """(number, why, whether for an error) of the lines of the source that are pointed at."""
    lines = response.context["source"].lines
    return [(line.number, line.here, line.is_error) for line in lines if line.here]


@pytest.fixture
def sentence(viewer):
    """What the page of the only execution says at its top."""

    def read():
        response = viewer.get(url_of(Execution.objects.get()))
        assert response.status_code == 200
        return response.context["sentence"]

    return read


def test_scheduled(service, sentence, move_clock):
    service.start_execution("1", [])
    move_clock(5 * 60)

    assert sentence() == (
        "Scheduled 5 min ago; it starts as soon as a worker is free. "
        "No worker is running: start one with “manage.py runworker”."
    )
    register_worker("local", [], using="default")
    assert sentence() == "Scheduled 5 min ago; it starts as soon as a worker is free."


def test_running(service, sentence):
    service.start_execution("1", [])
    claim_executions(1, using="default")
    assert sentence() == "Turn 1 runs now on a worker."

    worker = register_worker("local", [], using="default")
    Execution.objects.update(worker=worker)
    assert sentence() == f"Turn 1 runs now on {WorkerProcess.objects.get()}."


def test_waiting(asked, sentence):
    asked(GATHER, ["approve", "double"])

    text = sentence()

    assert text.startswith("Waiting since ")
    assert " for 4 calls: " in text
    assert "approve (a person)" in text
    assert "2 double (a worker, but no worker is running)" in text
    assert "asyncio.sleep (a sleep until " in text


def test_no_worker_has_the_function(asked, sentence):
    asked("await double(1)", ["double"])
    register_worker("local", ["add"], using="default")
    assert sentence().endswith(
        "for a call: double (a worker, but no running worker has the function 'double')."
    )

    Call.objects.update(executor="elsewhere")
    register_worker("local", ["double"], using="default")
    assert sentence().endswith("no running worker has the executor 'elsewhere').")


def test_the_worker_that_has_a_call(asked, sentence):
    call = asked("await double(1)", ["double"])
    worker = WorkerProcess.objects.get(pk=register_worker("local", ["double"], using="default"))
    lease_ends = call.created_at + timedelta(minutes=1)
    Call.objects.update(status="submitted", worker=worker, due_at=lease_ends)
    assert sentence().endswith(f"for a call: double (the queue of {worker}).")

    Call.objects.update(started_at=call.created_at, attempt=3)
    assert sentence().endswith(f"for a call: double (attempt 3 on {worker}).")

    Call.objects.update(job_id="1-x", executor="rq")
    assert sentence().endswith("for a call: double (attempt 3 on rq).")
    Call.objects.update(started_at=None)
    assert sentence().endswith("for a call: double (the queue of rq).")
    Call.objects.update(job_id="", executor="default")

    # The lease has run out.
    Call.objects.update(due_at=call.created_at)
    assert sentence().endswith("for a call: double (a worker).")


def test_a_call_that_is_tried_again(asked, sentence, register):
    register("flaky", None, retry=Retry(max_attempts=5))
    asked("await flaky()", ["flaky"])
    (claim,) = claim_calls(["flaky"], ["default"], 1, using="default")
    start_attempts([claim], using="default")
    answer = Answer.of_error("OSError", "down")._replace(retry_in=600)
    settle_attempt(claim, answer, using="default")
    due_at = Call.objects.get().due_at
    time = time_of_day(due_at, database_now("default"))

    assert sentence().endswith(f" for a call: flaky (attempt 2 of 5, retries at {time}).")
    # This process may know another policy, or not even the function.
    Call.objects.update(failures=5)
    assert sentence().endswith(f" for a call: flaky (attempt 6, retries at {time}).")


@pytest.mark.usefixtures("unchecked")
def test_many_calls_are_counted(asked, sentence):
    functions = ["add", "approve", "double", "echo", "note"]
    calls = ", ".join(f"{name}(1)" for name in functions for _ in range(12))
    asked(f"import asyncio\nawait asyncio.gather({calls})", functions)
    register_worker("local", functions, using="default")

    assert sentence().endswith(
        " for 60 calls: 12 add (a worker), 12 approve (a person), 12 double (a worker), "
        "12 echo (a worker), and 12 more."
    )


def test_an_answer_has_come(asked, service, sentence):
    call = asked()
    service.complete_call(call.execution_id, 0, True)
    register_worker("local", [], using="default")

    assert sentence() == "An answer has come; turn 2 runs as soon as a worker is free."


def test_none_of_its_calls_is_open(asked, sentence):
    asked()
    Call.objects.all().delete()

    assert sentence() == "Waiting, but none of its calls is open."


def test_host_faults(service, sentence, move_clock):
    service.start_execution("1", [])
    register_worker("local", [], using="default")
    Execution.objects.update(faults=2)
    move_clock(-9 * 60 - 30)

    assert sentence() == "The sandbox failed 2 times on turn 1; a worker tries again in 9 min."


def test_paused(asked, sentence, viewer):
    asked()
    Execution.objects.update(
        status="paused", error_type="ReplayMismatch", error_message="Replay differs at turn 1."
    )

    assert sentence() == "Paused, with nothing lost: ReplayMismatch: Replay differs at turn 1."


def test_completed(db, sentence, viewer, move_clock):
    execution = run('print("half way")\n[x, await double(x)]', ["double"], {"x": 21})
    move_clock(120)

    assert sentence().startswith("Completed 2 min ago, after ")
    page = text_of(viewer.get(url_of(execution)))
    for part in ('Inputs: { "x": 21 }', "Output: [ 21, 42 ]", "Log: half way", "await double(x)"):
        assert part in page
    assert "0 double 21 Completed " in page


def test_failed(db, sentence, viewer):
    execution = run("await fail('OutOfStock', 'none left')", ["fail"])

    assert sentence().startswith("Failed just now, after ")
    assert sentence().endswith(": OutOfStock: none left")
    response = viewer.get(url_of(execution))
    page = text_of(response)
    assert "Traceback of the function: fail #0 Traceback (most recent call last)" in page
    assert pointed_at(response) == [(1, "raised here", True)]
    call = text_of(viewer.get(url_of(Call.objects.get())))
    assert "raise" in call  # the function's own traceback


def test_failed_by_itself(db, viewer):
    execution = run("x = 1\nraise ValueError('no')")

    response = viewer.get(url_of(execution))

    page = text_of(response)
    assert pointed_at(response) == [(2, "raised here", True)]
    assert "None: the workflow itself raised this error." in page
    assert "No calls were made." in page


def test_an_error_that_looks_like_a_traceback(db, viewer):
    lie = '\\n  File "workflow", line '
    execution = run(f"raise ValueError('{lie}' + '9' * 5000)")

    response = viewer.get(url_of(execution))

    assert pointed_at(response) == [(1, "raised here", True)]


def test_failed_without_a_traceback(db, viewer, durable_settings):
    durable_settings(MAX_LOG_BYTES=10)
    execution = run("await double(1)\nprint('x' * 100)", ["double"])

    page = text_of(viewer.get(url_of(execution)))

    assert "printed more than DURABLE_MONTY['MAX_LOG_BYTES'] allows." in page
    assert page.index("Error Traceback of the function: None") < page.index("List of calls")


def test_not_started(service, viewer):
    service.start_execution("await approve('it')", ["approve"])

    page = text_of(viewer.get(url_of(Execution.objects.get())))

    assert "No calls yet: the first turn has not run. “manage.py runworker”" in page
    assert "Step through turns" not in page
    assert "No manual actions yet." in page


def test_where_it_is_paused(asked, viewer):
    """Positions are bytes; a line of three bytes a character comes before."""
    call = asked("text = '€' * 3\nanswer = [\n    await approve(text),\n]")

    response = viewer.get(url_of(call.execution))

    assert pointed_at(response) == [(3, "paused here", False)]
    assert '<mark class="dm-here"><span class="dm-k">await</span> approve(text)</mark>,' in (
        response.content.decode()
    )
    assert 'href="#line-3">Go to line 3</a>' in response.content.decode()


def test_cancelled(service, sentence):
    service.start_execution("1", [])
    now = database_now("default")
    Execution.objects.update(status="cancelled", due_at=None, finished_at=now)

    assert sentence().startswith("Cancelled just now, after ")


def test_the_snapshot_the_source_and_the_calls_are_linked(asked, viewer):
    call = asked(key="order-7")

    page = viewer.get(url_of(call.execution)).content.decode()

    for row in (call, Snapshot.objects.get(), Program.objects.get()):
        assert f'<a href="{url_of(row)}">' in page
    assert f"/call/?execution={call.execution_id}" in page
    assert "order-7" in page
    assert "Snapshot: none" in text_of(viewer.get(url_of(run("1"))))


def test_long_values_and_long_journals_are_cut(asked, viewer):
    call = asked("await approve('x' * 30_000)")
    Call.objects.bulk_create(
        Call(
            execution=call.execution,
            call_id=number,
            function="double",
            args=f'["number {number}, {"y" * 100}"]',
            position_start=0,
            position_end=1,
            turn=1,
            executor="default",
            created_at=call.created_at,
        )
        for number in range(1, 151)
    )
    Execution.objects.update(call_count=151)

    page = text_of(viewer.get(url_of(call.execution)))
    assert "101 to 151 of 151" in page
    assert "number 100," in page
    assert "number 99," not in page
    assert "y" * 110 not in page
    page = text_of(viewer.get(url_of(call)))
    assert "… [cut, 30,002 characters]" in page
    assert "x" * 20_001 not in page


def test_queries_do_not_grow(asked, viewer, service):
    # Session, user and permissions (4), the row, the database's time, workers, its open calls by
    # function, the snapshot, the open calls, calls by place, the table of calls, what people did
    # to it and to its calls, and its forks.
    one = asked("await approve(1)").execution
    many = asked(
        "import asyncio\nawait asyncio.gather(*[approve(n) for n in range(40)])"
    ).execution
    register_worker("local", [], using="default")

    for execution in (one, many):
        with CaptureQueriesContext(connection) as queries:
            viewer.get(url_of(execution))
        assert len(queries) == 15, [query["sql"] for query in queries]


def test_queries_of_the_other_pages(asked, clerk):
    call = asked()
    worker = WorkerProcess.objects.get(pk=register_worker("local", ["double"], using="default"))
    for row, count in [
        (call, 8),
        (Snapshot.objects.get(), 6),
        (Program.objects.get(), 6),
        (worker, 6),
    ]:
        with CaptureQueriesContext(connection) as queries:
            page = clerk.get(url_of(row))
        assert page.status_code == 200
        assert len(queries) == count, [query["sql"] for query in queries]


def test_no_such_row(viewer):
    for model, pk in [(Execution, uuid.uuid4()), (Execution, "nonsense"), (Call, 7), (Call, "x")]:
        response = viewer.get(url_of(model(pk=pk)), follow=True)

        assert "Perhaps it was deleted?" in text_of(response)

from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from durable_monty.admin import paginator
from durable_monty.models import Call, Execution, Program, Snapshot, WorkerProcess
from durable_monty.operations import claim_executions, register_worker, retire_worker
from tests.admin.pages import list_url, text_of
from tests.support import run

# Of each list: session and user (2), permissions (2), count, rows with the database's time. Then
# the workers that are alive, what the executions wait for, names and errors for the filters.
QUERIES = {Execution: 9, Call: 8, Snapshot: 6, WorkerProcess: 6, Program: 6}


@pytest.fixture
def many(asked, service):
    """Fills the tables with so many rows of each kind."""

    def fill(count):
        for number in range(count):
            asked(f"# {number}\nawait approve('it')", name=f"name-{number}")
            asked("import asyncio\nawait asyncio.sleep(60)", [])
            call = asked("await double(2)", ["double"], name=f"name-{number}")
            service.start_execution("1", [])
            service.complete_call(call.execution_id, 0, 4)
            service.process_execution(call.execution_id)
            register_worker("local", ["double"], using="default")

    return fill


@pytest.fixture
def listed():
    """The rows that a list shows, in its order."""

    def rows(client, model, query=""):
        response = client.get(list_url(model, query))
        assert response.status_code == 200
        return list(response.context["cl"].result_list)

    return rows


@pytest.mark.parametrize("model", QUERIES)
def test_queries_do_not_grow_with_the_rows(many, viewer, model):
    for count in (1, 4):
        many(count)
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(list_url(model)).status_code == 200
        assert len(queries) == QUERIES[model], [query["sql"] for query in queries]


def test_large_columns_are_not_read(many, viewer):
    many(1)
    for model, columns in [
        (Execution, ["inputs", "output", "log", "error_traceback", "source"]),
        (Call, ["args", "kwargs", "result", "error_traceback", "inputs", "log"]),
        (Snapshot, ["data", "inputs", "log"]),
        (Program, ["source"]),
    ]:
        with CaptureQueriesContext(connection) as queries:
            viewer.get(list_url(model))
        for column in columns:
            assert not any(f'"{column}"' in query["sql"] for query in queries), (model, column)


def test_executions(asked, viewer, move_clock):
    asked(name="review")
    move_clock(3 * 60)

    page = text_of(viewer.get(list_url(Execution)))

    execution = Execution.objects.get()
    assert f"review {execution.short_id} Waiting approve (a person) 3 min ago 3 min" in page


def test_what_executions_wait_for(asked, viewer):
    asked(
        "import asyncio\nawait asyncio.gather(double(1), double(2), approve('it'))",
        ["double", "approve"],
    )
    page = text_of(viewer.get(list_url(Execution)))
    assert "Waiting approve (a person), 2 double (a worker, but no worker is running)" in page

    register_worker("local", ["add"], using="default")
    page = text_of(viewer.get(list_url(Execution)))
    assert "2 double (a worker, but no running worker has the function 'double')" in page

    register_worker("local", ["double"], using="default")
    page = text_of(viewer.get(list_url(Execution)))
    assert "2 double (a worker)" in page


def test_executions_that_run_or_are_due(asked, service, viewer):
    call = asked()
    register_worker("local", [], using="default")
    service.complete_call(call.execution_id, 0, True)
    assert "Waiting a worker just now" in text_of(viewer.get(list_url(Execution)))

    claim_executions(1, using="default")
    assert "Waiting turn 2 on a worker just now" in text_of(viewer.get(list_url(Execution)))


def test_a_paused_execution_waits_to_be_resumed(asked, viewer):
    asked()
    Execution.objects.update(status="paused", error_type="ReplayMismatch")

    page = text_of(viewer.get(list_url(Execution)))

    assert "Paused a person to resume it (ReplayMismatch)" in page


def test_executions_by_status_and_name(asked, service, viewer, listed):
    waiting = asked(name="review").execution
    other = Execution.objects.get(pk=service.start_execution("1", [], name="other"))

    assert listed(viewer, Execution) == [other, waiting]
    assert listed(viewer, Execution, "?status__exact=waiting") == [waiting]
    assert listed(viewer, Execution, "?name=other") == [other]
    assert listed(viewer, Execution, "?name=nothing") == []


def test_executions_by_time(service, viewer, listed):
    service.start_execution("1", [])
    two_days = 2 * 24 * 3600 * 1000 << 80  # in the milliseconds of the key
    id_now = Execution.objects.get().pk
    Execution.objects.update(id=UUID(int=id_now.int - two_days))

    found = {
        span: len(listed(viewer, Execution, f"?created={span}"))
        for span in ("hour", "day", "week", "month", "nonsense")
    }
    assert found == {"hour": 0, "day": 0, "week": 1, "month": 1, "nonsense": 1}


def test_search_executions(asked, viewer, listed):
    first = asked(name="review 7", key="order-7").execution
    asked(name="review 8", key="order-8")

    assert listed(viewer, Execution, "?q=review+7") == [first]
    assert listed(viewer, Execution, "?q=order-7") == [first]
    assert listed(viewer, Execution, f"?q={first.pk}") == [first]
    assert listed(viewer, Execution, f"?q={first.short_id.upper()}") == [first]
    assert listed(viewer, Execution, "?q=review") == []
    assert listed(viewer, Execution, "?q=%27%22%25") == []


def test_executions_that_wait_for_a_person_or_a_function(asked, service, viewer, listed):
    person = asked().execution
    worker = asked("await double(2)", ["double"]).execution
    answered = asked()
    service.complete_call(answered.execution_id, 0, True)

    assert listed(viewer, Execution, "?attention=person") == [person]
    assert listed(viewer, Execution, "?function=double") == [worker]
    assert listed(viewer, Execution, "?function=approve") == [person]
    assert listed(viewer, Execution, "?function=nothing") == []


def test_executions_that_are_stuck(asked, service, viewer, listed, move_clock):
    asked()
    asked("import asyncio\nawait asyncio.sleep(3600)", [])
    unserved = asked("await double(2)", ["double"]).execution
    asleep = asked("import asyncio\nawait asyncio.sleep(60)", []).execution
    due = Execution.objects.get(pk=service.start_execution("1", []))
    mismatched = asked().execution
    Execution.objects.filter(pk=mismatched.pk).update(status="paused", error_type="ReplayMismatch")
    service.pause_execution(asked().execution_id)
    assert listed(viewer, Execution, "?attention=stuck") == [mismatched]

    move_clock(6 * 60)
    service.start_execution("2", [])

    assert listed(viewer, Execution, "?attention=stuck") == [mismatched, due, asleep, unserved]


@pytest.mark.usefixtures("unchecked")
def test_executions_that_failed(viewer, service, listed, move_clock):
    old = run("nonsense()")
    resolved = run("nonsense()")
    move_clock(3601)
    new = run("1 / 0")
    run("1")
    service.resolve_execution(resolved.pk, "it was a test")

    assert listed(viewer, Execution, "?attention=failed") == [new, old]
    assert listed(viewer, Execution, "?attention=failed&error=NameError") == [old]
    assert listed(viewer, Execution, "?status__exact=failed") == [new, resolved, old]
    Execution.objects.filter(pk=resolved.pk).delete()
    assert listed(viewer, Execution, "?error=NameError") == [old]
    assert listed(viewer, Execution, "?error=ZeroDivisionError") == [new]
    assert listed(viewer, Execution, "?error=nothing") == []
    assert listed(viewer, Execution, "?q=ZeroDivisionError") == [new]
    page = text_of(viewer.get(list_url(Execution, "?attention=failed")))
    assert "Failed ZeroDivisionError: division by zero" in page


def test_names_and_errors_are_offered(viewer, service):
    service.start_execution("1", [], name="zebra")
    run("1 / 0", name="ape <b>")

    page = text_of(viewer.get(list_url(Execution)))

    assert "By name All ape <b> zebra" in page
    assert "By error All ZeroDivisionError" in page


def test_counts_stop_at_a_limit(service, viewer, monkeypatch):
    monkeypatch.setattr(paginator, "COUNT_LIMIT", 3)
    for number in range(4):
        service.start_execution("1", [], name="few" if number else "many")

    assert "3+ executions" in text_of(viewer.get(list_url(Execution)))
    assert "3 executions" in text_of(viewer.get(list_url(Execution, "?name=few")))


def test_who_has_waited_longest_comes_first(asked, viewer, listed):
    first, second = asked(), asked()
    third, fourth = asked("await double(2)", ["double"]), asked("await double(2)", ["double"])

    assert listed(viewer, Call, "?waiting=person") == [first, second]
    assert listed(viewer, Call, "?waiting=worker") == [third, fourth]


def test_calls_by_what_they_wait_for(asked, service, viewer, listed):
    person = asked()
    worker = asked("await double(2)", ["double"])
    sleep = asked("import asyncio\nawait asyncio.sleep(60)", [])
    done = asked()
    service.complete_call(done.execution_id, 0, True)

    assert listed(viewer, Call, "?waiting=person") == [person]
    assert listed(viewer, Call, "?waiting=worker") == [worker]
    assert listed(viewer, Call, "?waiting=sleep") == [sleep]
    assert listed(viewer, Call, "?waiting=nonsense") == [done, sleep, worker, person]
    assert listed(viewer, Call, "?status__exact=completed") == [done]
    assert listed(viewer, Call, "?status__exact=pending") == [sleep, worker, person]
    assert listed(viewer, Call, "?function=asyncio.sleep") == [sleep]
    assert listed(viewer, Call, "?function=double") == [worker]
    assert listed(viewer, Call, "?q=double") == [worker]


def test_calls_of_an_execution(asked, viewer, listed):
    first, _second = asked(), asked()

    assert listed(viewer, Call, f"?execution={first.execution_id}") == [first]
    assert listed(viewer, Call, "?execution=nonsense") == []
    assert listed(viewer, Call, f"?q={first.execution_id}") == [first]
    assert listed(viewer, Call, f"?q={first.idempotency_key}") == [first]
    assert listed(viewer, Call, f"?q={first.execution_id}:1") == []
    assert listed(viewer, Call, f"?q={first.execution_id}:x") == []
    assert listed(viewer, Call, "?q=nonsense") == []


def test_a_call_says_for_whom_it_waits(asked, viewer):
    asked()

    page = text_of(viewer.get(list_url(Call)))

    assert "approve #0 Pending a person just now (no name)" in page


def test_workers(viewer, listed, move_clock, db):
    stopped = register_worker("local", [], using="default")
    retire_worker(stopped, using="default")
    silent = register_worker("local", [], using="default")
    move_clock(60)
    alive = register_worker("local", ["double"], using="default")

    def keys(query):
        return [worker.pk for worker in listed(viewer, WorkerProcess, query)]

    assert keys("") == [alive, silent, stopped]
    assert keys("?state=alive") == [alive]
    assert keys("?state=gone") == [silent, stopped]
    page = text_of(viewer.get(list_url(WorkerProcess)))
    for state in ("Alive just now", "Not responding 1 min ago", "Stopped 1 min ago"):
        assert state in page
    host = WorkerProcess.objects.first().host
    assert keys(f"?q={host}") == [alive, silent, stopped]
    assert keys("?q=elsewhere") == []


def test_snapshots_and_sources(asked, viewer, listed):
    call = asked()
    snapshot, program = Snapshot.objects.get(), Program.objects.get()

    assert listed(viewer, Snapshot, f"?q={call.execution.short_id}") == [snapshot]
    assert listed(viewer, Snapshot, "?q=nonsense") == []
    assert listed(viewer, Program, f"?q={program.sha256[:9]}") == [program]
    assert listed(viewer, Program, "?q=nonsense") == []


def test_empty_lists_say_what_to_do(viewer, asked):
    for model, what in {
        Execution: "None yet. OrchestratorService().start_execution(…) starts one.",
        Call: "None yet. Executions make calls while “manage.py runworker” runs.",
        Snapshot: "None. Executions have one while they wait.",
        WorkerProcess: "None yet. Start one with “manage.py runworker”.",
        Program: "None yet. Each source that is started is stored here once.",
    }.items():
        assert what in text_of(viewer.get(list_url(model)))

    asked()
    page = text_of(viewer.get(list_url(Execution)))
    assert "None yet" not in page
    page = text_of(viewer.get(list_url(Execution, "?q=elsewhere")))
    assert "No matches." in page

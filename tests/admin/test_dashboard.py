import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.operations import (
    beat,
    claim_calls,
    register_worker,
    retire_worker,
    start_attempts,
)
from durable_monty.reads import dashboard, finished
from tests.admin.pages import list_url, text_of, url_of
from tests.support import run

INDEX = "admin:app_list"
DASHBOARD = "/admin/durable_monty/"


@pytest.fixture
def index():
    def get(client, query=""):
        return client.get(reverse(INDEX, args=["durable_monty"]) + query)

    return get


def test_empty(viewer, index):
    page = text_of(index(viewer))

    assert "Executions None yet." in page
    assert "No one has to answer anything." in page
    assert "No calls are queued or running." in page
    assert "No worker is running: start one with “manage.py runworker”." in page
    assert "Needs attention Nothing “manage.py durable_doctor” checks everything" in page
    assert "Nothing finished in this period. Choose a longer one to see more." in page
    assert "No failures to handle in this period." in page


@pytest.mark.usefixtures("unchecked")
def test_counts_by_status_lead_to_the_lists(asked, service, viewer, index):
    run("1")
    run("2")
    run("nonsense()")
    asked()
    service.start_execution("1", [])

    response = index(viewer)

    assert "1 Scheduled 1 Waiting 2 Completed 1 Failed, not handled" in text_of(response)
    for status in ("scheduled", "waiting", "completed", "failed"):
        query = "attention=failed" if status == "failed" else f"status__exact={status}"
        url = f"{reverse('admin:durable_monty_execution_changelist')}?{query}"
        assert f'href="{url}"' in response.content.decode()
        assert (
            len(viewer.get(url).context["cl"].result_list)
            == Execution.objects.filter(status=status).count()
        )


def test_pending_calls_oldest_first(asked, viewer, index, move_clock):
    old, new = asked(name="old"), asked(name="new")
    machine = asked("await double(1)", ["double"], name="machine")
    asked("import asyncio\nawait asyncio.sleep(60)", [])
    Call.objects.filter(pk=new.pk).update(created_at=old.created_at)
    Call.objects.filter(pk=old.pk).update(created_at=new.created_at)
    move_clock(3 * 60)
    register_worker("local", ["add"], using="default")

    response = index(viewer)

    page = text_of(response)
    assert (
        "Waiting for a person 2 Call Execution Waiting since "
        f"approve #0 {new.execution} 3 min ago approve #0 {old.execution}" in page
    )
    assert (
        f"double #0 {machine.execution} a worker, but no running worker has the function 'double'"
        in page
    )
    assert "asyncio.sleep" not in page
    for call in (old, new, machine):
        assert f'href="{url_of(call)}"' in response.content.decode()
    assert "call/?waiting=person" in response.content.decode()


def test_workers(viewer, index, move_clock):
    for host, seconds in (("lost.example.org", 3600), ("silent.example.org", 60)):
        pk = register_worker("local", [], using="default")
        WorkerProcess.objects.filter(pk=pk).update(host=host)
        move_clock(seconds)
    stopped = register_worker("local", [], using="default")
    WorkerProcess.objects.filter(pk=stopped).update(host="stopped.example.org")
    retire_worker(stopped, using="default")
    alive = register_worker("local", ["double"], using="default")
    move_clock(9.5)

    page = text_of(index(viewer))

    worker = WorkerProcess.objects.get(pk=alive)
    version = re.escape(worker.version)
    assert re.search(rf"{worker} Alive 9\.\d s ago 0 local {version} 9\.\d s ago", page)
    assert re.search(r"silent\.example\.org:\d+ Not responding 1 min ago", page)
    assert re.search(
        r"Warning Worker silent\.example\.org:\d+ has not reported for 1 min\. Show", page
    )
    assert "lost.example.org" not in page
    assert "stopped.example.org" not in page
    assert "No worker is running" not in page


def test_the_load_of_workers_and_queues(asked, viewer, index):
    for _ in range(3):
        asked("await double(1)", ["double"])
    worker = register_worker("local", ["double"], using="default")
    claimed = claim_calls(["double"], ["default"], 2, using="default", worker_id=worker)
    start_attempts(claimed[:1], using="default")

    page = text_of(index(viewer))

    assert "Queue by function Function Queued Running Retrying Due since double 2 1 0" in page
    assert re.search(r"Alive (just now|[\d.]+ s ago) 2 local", page)


def test_no_figures_of_what_the_user_may_not_see(asked, staff, index):
    asked(name="secret-name")

    assert "Waiting" not in text_of(index(staff("view_execution", "view_call", name="d")))

    executions = text_of(index(staff("view_dashboard", "view_execution", name="a")))
    assert "1 Waiting" in executions
    assert "Waiting for a person" not in executions
    assert "Heartbeat" not in executions

    calls = index(staff("view_dashboard", "view_call", name="b"))
    assert "Waiting for a person 1" in text_of(calls)
    assert "1 Waiting" not in text_of(calls)
    assert b"/execution/" not in calls.content

    workers = text_of(index(staff("view_dashboard", "view_workerprocess", name="c")))
    assert "No worker is running" in workers
    assert "secret-name" not in workers
    assert "Waiting" not in workers


def test_counts_stop_at_a_limit(asked, viewer, index, monkeypatch):
    monkeypatch.setattr(dashboard, "COUNT_LIMIT", 2)
    monkeypatch.setattr(dashboard, "ROWS", 1)
    for _ in range(3):
        asked()

    page = text_of(index(viewer))

    assert "2+ Waiting" in page
    assert "Waiting for a person 2+" in page
    assert page.count("approve #0") == 1


def test_queries_do_not_grow(asked, viewer, index):
    # Session, user and permissions (4), the database's time, workers (2), executors and the calls
    # of each of the two, late work (2), the six statuses, what ended (7), the oldest (2), calls
    # for people (2) and for workers, sizes.
    for _ in range(2):
        run("1")
        asked()
        asked("await double(1)", ["double"])
        register_worker("local", ["double"], using="default")
        with CaptureQueriesContext(connection) as queries:
            index(viewer)
        assert len(queries) == 33, [query["sql"] for query in queries]


def test_the_other_apps_are_as_they_were(admin_client):
    page = text_of(admin_client.get(reverse(INDEX, args=["auth"])))

    assert "Users" in page
    assert "Needs attention" not in page


@pytest.mark.django_db
def test_the_log_in_page_comes_first(client, index):
    assert index(client).status_code == 302


@pytest.mark.usefixtures("unchecked")
def test_throughput_has_a_table_behind_it(viewer, index, move_clock):
    run("1", name="report")
    run("nonsense()", name="report")
    move_clock(120)
    run("1", name="report")
    run("2", name="other")

    response = index(viewer)

    page = text_of(response)
    assert (
        "Finished per 1 min Completed 3 Failed 1 Cancelled 0 2 " in page
    )  # 2: the height of the chart
    rows = re.findall(r", \d\d:\d\d to \d\d:\d\d (\d+) (\d+) (\d+)", page)
    assert rows == [("1", "1", "0"), ("2", "0", "0")]
    titles = re.findall(r"<title>\w+ \d+, \d\d:\d\d to \d\d:\d\d: (.*?)</title>", body(response))
    assert titles == [
        "1 completed, 1 failed, 0 cancelled",
        "2 completed, 0 failed, 0 cancelled",
    ]
    heights = re.findall(
        r'<rect class="dm-of-(\w+)" x="(\d+)" y="(\d+)".*? height="(\d+)"', body(response)
    )
    assert [(status, y, height) for status, _x, y, height in heights] == [
        ("failed", "60", "60"), ("completed", "0", "60"), ("completed", "0", "120"),
    ]  # fmt: skip
    assert int(heights[2][1]) - int(heights[0][1]) == 2 * 10


def test_spans(viewer, index, move_clock):
    run("1", name="report")
    move_clock(3 * 24 * 3600)
    run("1", name="report")

    completed = {
        span: re.search(
            r"Finished per .*? Completed (\d+)", text_of(index(viewer, f"?span={span}"))
        )[1]
        for span in ("hour", "day", "week", "nonsense")
    }

    assert completed == {"hour": "1", "day": "1", "week": "2", "nonsense": "1"}


@pytest.mark.usefixtures("unchecked")
def test_durations_and_failures(viewer, index, move_clock):
    for seconds in (1, 2, 3, 4, 100):
        execution = run("1", name="report & co")
        began = execution.finished_at - timedelta(seconds=seconds)
        Execution.objects.filter(pk=execution.pk).update(created_at=began)
    run("nonsense()", name="report & co")
    last = run("1 / 0", name="other")

    response = index(viewer)

    page = text_of(response)
    assert "p50 p95 report & co 5 1 3.0 s 1 min other 0 1 - -" in page
    assert re.search(
        "Failures by error Error Failed Workflows Last NameError 1 report & co .*? "
        "ZeroDivisionError 1 other",
        page,
    )
    for link in (
        f"{list_url(Execution)}?name=report%20%26%20co",
        f"{list_url(Execution)}?attention=failed&amp;error=ZeroDivisionError",
        url_of(last),
    ):
        assert f'href="{link}"' in body(response)


@pytest.mark.usefixtures("unchecked")
def test_failures_are_worked_down_to_none(viewer, index, service):
    first, second = run("nonsense()", name="report"), run("1 / 0", name="report")
    assert "2 Failed, not handled" in text_of(index(viewer))

    for execution in (first, second):
        service.resolve_execution(execution.pk, "seen")

    for _ in range(2):  # and none comes back when the page is loaded again
        page = text_of(index(viewer))
        assert "not handled" not in page
        assert "No failures to handle in this period." in page
        assert "report 0 2 - -" in page  # what happened is not forgotten


@pytest.mark.usefixtures("unchecked")
def test_what_is_cut_off_says_so(viewer, index, monkeypatch, move_clock):
    monkeypatch.setattr(finished, "_COUNTED", 2)
    monkeypatch.setattr(finished, "_TIMED", 2)
    monkeypatch.setattr(finished, "_FAILURES", 2)
    for _ in range(4):
        run("1")
        run("nonsense()")
        move_clock(60)

    page = text_of(index(viewer))

    assert "Completed 2 Failed 2" in page
    assert re.search(r"executions that finished before [23] min ago are left out", page)
    assert "Durations by workflow newest only" in page
    assert "Failures by error newest only" in page


def test_sizes(viewer, index, db):
    page = text_of(index(viewer))

    if connection.vendor == "sqlite":
        assert re.search(r"The whole database - [\d.]+ [KM]B", page)
    else:
        assert re.search(r"Executions (-|\d+) [\d.]+ [KM]B", page)


def test_no_worker_but_work(asked, viewer, index):
    asked("await double(1)", ["double"])

    page = text_of(index(viewer))

    assert "Error No worker is running; waiting: 1 call. Start one: “manage.py runworker”." in page


def test_no_worker_but_executions(service, viewer, index):
    """What waits is said, so that it does not contradict the queues, which are empty."""
    service.start_execution("1", [])
    service.start_execution("2", [])

    page = text_of(index(viewer))

    text = "Error No worker is running; waiting: 2 executions. Start one: “manage.py runworker”."
    assert text in page
    assert "Queued and running calls No calls are queued or running." in page


@pytest.mark.parametrize(
    ("ended", "said"), [((2, 2), True), ((3, 2), False), ((0, 1), False), ((1, 4), True)]
)
def test_half_of_all_failed(viewer, index, move_clock, ended, said):
    completed, failed = ended
    for _ in range(completed):
        run("1")
    for _ in range(failed):
        run("1 / 0")
    register_worker("local", [], using="default")
    text = (
        f"Error {failed} of the {completed + failed} executions that ended in the last hour "
        "failed. Show"
    )
    assert (text in text_of(index(viewer))) == said
    assert (text in text_of(index(viewer, "?span=week"))) == said
    if said:
        shown = viewer.get(list_url(Execution, "?attention=failed")).context["cl"].result_list
        assert len(shown) == failed
    move_clock(3_700)
    assert text not in text_of(index(viewer, "?span=day"))


@pytest.mark.parametrize(
    ("threads", "said"),
    [
        (1, "Error Worker {} runs nothing: calls that nobody waits for occupy all its threads "
            "(double). Restart it. Show"),
        (2, "Warning Calls that nobody waits for occupy threads of worker {} (double). Show"),
    ],
)  # fmt: skip
def test_stuck_threads_need_attention(asked, viewer, index, threads, said):
    call = asked("await double(1)", ["double"])
    pk = register_worker("local", ["double"], using="default")
    facts = {"function": "double", "execution_id": str(call.execution_id), "call_id": 0}
    beat(pk, {"threads": threads, "calls": [facts]}, using="default")

    assert said.format(WorkerProcess.objects.get()) in text_of(index(viewer))
    page = text_of(viewer.get(url_of(WorkerProcess.objects.get())))
    assert f"Stuck calls: double (call 0 of execution {call.execution_id})" in page


def test_late_work_needs_attention(asked, service, viewer, index, move_clock):
    asked("await double(1)", ["double"])
    asked("await add(1, 2)", ["add"])
    service.start_execution("1", [])
    Execution.objects.filter(pk=asked().execution_id).update(
        status="paused", error_type="ReplayMismatch", due_at=None, claim=None
    )
    Execution.objects.filter(pk=asked().execution_id).update(
        status="paused", error_type="HostFault", due_at=None, claim=None
    )
    move_clock(6 * 60)
    register_worker("local", ["add"], using="default")

    response = index(viewer)

    page = text_of(response)
    for text in (
        "1 execution is overdue by 5 minutes or more: add workers, or look for stuck ones. Show",
        "Calls of double became due 6 min ago, but no running worker has the function 'double'.",
        "Calls became due 6 min ago: add workers, or look for stuck ones (add).",
        "1 execution is paused, because its replay differs from its journal.",
        "1 execution is paused, because its turn could not be run.",
    ):
        assert text in page
    assert re.search(r"Overdue longest .*? \( 6 min ago \)", page)
    stuck = viewer.get(list_url(Execution, "?attention=stuck")).context["cl"].result_list
    assert len(stuck) == 5


def test_lists_lead_to_the_dashboard(viewer, staff):
    for model in (Execution, Call, WorkerProcess):
        assert f'<a href="{DASHBOARD}">Dashboard</a>' in body(viewer.get(list_url(model)))
    other = staff("view_execution", name="other")
    assert ">Dashboard</a>" not in body(other.get(list_url(Execution)))


def body(response):
    return response.content.decode()

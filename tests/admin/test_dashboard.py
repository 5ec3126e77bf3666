import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.operations import register_worker
from durable_monty.reads import dashboard
from tests.admin.pages import text_of, url_of
from tests.support import run

INDEX = "admin:app_list"


@pytest.fixture
def index():
    def get(client):
        return client.get(reverse(INDEX, args=["durable_monty"]))

    return get


def test_empty(viewer, index):
    page = text_of(index(viewer))

    assert "Executions None yet." in page
    assert "Nobody is waited for." in page
    assert "No function waits or runs." in page
    assert "No worker is running: start one with “manage.py runworker”." in page


def test_counts_by_status_lead_to_the_lists(asked, service, viewer, index):
    run("1")
    run("2")
    run("nonsense()")
    asked()
    service.start_execution("1", [])

    response = index(viewer)

    assert "1 Scheduled 1 Waiting 2 Completed 1 Failed" in text_of(response)
    for status in ("scheduled", "waiting", "completed", "failed"):
        url = f"{reverse('admin:durable_monty_execution_changelist')}?status__exact={status}"
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
        "Waiting for a person 2 Call Execution Asked "
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


def test_workers_alive(viewer, index, move_clock):
    gone = register_worker("local", [], using="default")
    WorkerProcess.objects.filter(pk=gone).update(host="gone.example.org")
    move_clock(60)
    alive = register_worker("local", [], using="default")
    move_clock(9.5)

    page = text_of(index(viewer))

    worker = WorkerProcess.objects.get(pk=alive)
    assert re.search(rf"{worker} 9\.\d s ago local {worker.version} 9\.\d s ago", page)
    assert "gone.example.org" not in page
    assert "No worker is running" not in page


def test_no_figures_of_what_the_user_may_not_see(asked, staff, index):
    asked(name="secret-name")

    executions = text_of(index(staff("view_execution", name="a")))
    assert "1 Waiting" in executions
    assert "Waiting for a person" not in executions
    assert "Workers alive" not in executions

    calls = index(staff("view_call", name="b"))
    assert "Waiting for a person 1" in text_of(calls)
    assert "1 Waiting" not in text_of(calls)
    assert b"/execution/" not in calls.content

    workers = text_of(index(staff("view_workerprocess", name="c")))
    assert "Workers alive" in workers
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
    # Session, user and permissions (4), the database's time, workers (2), the six statuses, and
    # for people and workers each the oldest calls and their number.
    for _ in range(2):
        asked()
        asked("await double(1)", ["double"])
        run("1")
        register_worker("local", ["double"], using="default")
        with CaptureQueriesContext(connection) as queries:
            index(viewer)
        assert len(queries) == 17, [query["sql"] for query in queries]


def test_the_other_apps_are_as_they_were(admin_client):
    page = text_of(admin_client.get(reverse(INDEX, args=["auth"])))

    assert "Users" in page
    assert "Workers alive" not in page


@pytest.mark.django_db
def test_the_log_in_page_comes_first(client, index):
    assert index(client).status_code == 302

import pytest

from durable_monty.models import WorkerProcess
from durable_monty.operations import register_worker
from tests.admin.conftest import VIEW
from tests.admin.pages import history, list_url, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def dead(move_clock):
    pk = register_worker("local", [], using="default")
    move_clock(16)
    return pk


def dismiss(client, *pks):
    return client.post(
        list_url(WorkerProcess), {"action": "dismiss", "_selected_action": pks}, follow=True
    )


def test_a_dead_worker_is_dismissed(dead, staff):
    alive = register_worker("local", [], using="default")
    client = staff(*VIEW, "dismiss_workerprocess", name="boss")
    assert "has not reported for 16 s" in text_of(client.get("/admin/durable_monty/"))

    page = text_of(dismiss(client, dead, alive))

    assert "1 worker is dismissed." in page
    assert (
        "1 worker is running or has stopped: only workers that do not respond can be dismissed."
        in page
    )
    stopped = WorkerProcess.objects.exclude(stopped_at=None)
    assert list(stopped.values_list("pk", flat=True)) == [dead]
    assert history() == [("boss", "Dismissed.")]
    assert "has not reported" not in text_of(client.get("/admin/durable_monty/"))


def test_it_needs_its_permission(dead, viewer):
    assert "Dismiss selected workers" not in text_of(viewer.get(list_url(WorkerProcess)))
    dismiss(viewer, dead)
    assert WorkerProcess.objects.get().stopped_at is None
    assert history() == []

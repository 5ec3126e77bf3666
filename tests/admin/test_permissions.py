import pytest
from django.urls import reverse

from durable_monty.models import Call, Execution, Program, Snapshot, WorkerProcess
from durable_monty.operations import register_worker
from tests.admin.pages import history, list_url, text_of, url_of

MODELS = [Execution, Call, Snapshot, WorkerProcess, Program]

ANSWER = {"outcome": "complete", "result": "true", "error_message": "", "reason": ""}


@pytest.fixture
def rows(asked):
    """A row of each model."""
    asked()
    register_worker("local", [], using="default")
    return {model: model.objects.get() for model in MODELS}


@pytest.fixture
def stored(rows):
    """Everything that is stored, to compare."""

    def read():
        return [list(model.objects.order_by("pk").values()) for model in MODELS]

    return read


@pytest.mark.parametrize("model", MODELS)
def test_a_viewer_sees_lists_and_rows(rows, viewer, model):
    assert viewer.get(list_url(model)).status_code == 200
    page = viewer.get(url_of(rows[model]))
    assert page.status_code == 200
    assert b"<textarea" not in page.content
    assert b'name="_save"' not in page.content


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("view", ["change", "delete"])
def test_a_viewer_changes_nothing(rows, stored, viewer, model, view):
    before = stored()

    response = viewer.post(url_of(rows[model], view), {**ANSWER, "post": "yes"})

    assert response.status_code == 403
    assert stored() == before
    assert history() == []


def test_adding_an_execution_is_starting_one(rows, stored, viewer, admin_client):
    add = reverse("admin:durable_monty_execution_add")
    before = stored()

    assert viewer.get(add).status_code == 403
    assert viewer.post(add, {"source": "1", "inputs": "{}"}).status_code == 403
    assert admin_client.get(add).status_code == 200
    assert stored() == before


@pytest.mark.parametrize("model", MODELS)
def test_a_superuser_adds_and_deletes_nothing(rows, stored, admin_client, model):
    before = stored()
    add = reverse(f"admin:durable_monty_{model._meta.model_name}_add")

    if model is not Execution:
        assert admin_client.get(add).status_code == 403
        assert admin_client.post(add, ANSWER).status_code == 403
    assert admin_client.get(url_of(rows[model], "delete")).status_code == 403
    assert admin_client.post(url_of(rows[model], "delete"), {"post": "yes"}).status_code == 403
    delete_all = {"action": "delete_selected", "_selected_action": [rows[model].pk], "post": "yes"}
    admin_client.post(list_url(model), delete_all)
    assert stored() == before


@pytest.mark.parametrize("model", [Execution, Snapshot, WorkerProcess, Program])
def test_a_superuser_changes_nothing(rows, stored, admin_client, model):
    before = stored()

    assert admin_client.post(url_of(rows[model]), {"name": "other"}).status_code == 403
    assert stored() == before


def test_without_permissions_nothing_is_seen(rows, staff):
    nobody = staff()

    for model, row in rows.items():
        assert nobody.get(list_url(model)).status_code == 403
        assert nobody.get(url_of(row)).status_code == 403
    assert nobody.get(reverse("admin:app_list", args=["durable_monty"])).status_code == 404


def test_answering_needs_to_see_the_call(rows, staff):
    blind = staff("complete_call")

    assert blind.get(url_of(rows[Call])).status_code == 403
    assert blind.post(url_of(rows[Call]), ANSWER).status_code == 403
    assert Call.objects.get().is_open


def test_the_page_of_an_execution_hides_what_the_user_may_not_see(rows, staff):
    page = text_of(staff("view_execution").get(url_of(rows[Execution])))

    assert "Waiting since" in page
    assert "Arguments" not in page  # the table of calls
    assert "await approve" not in page
    assert "Snapshot" not in page


def test_the_engine_answers_its_own_calls(asked, clerk):
    timer = asked("import asyncio\nawait asyncio.sleep(60)", [])

    assert b'name="_save"' not in clerk.get(url_of(timer)).content
    assert clerk.post(url_of(timer), ANSWER).status_code == 403
    assert Call.objects.get().is_open

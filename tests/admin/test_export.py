import json

import pytest
from django.urls import reverse

from durable_monty import Retry
from durable_monty.admin import pages
from durable_monty.models import Call, Execution
from tests.admin.conftest import VIEW
from tests.admin.pages import list_url, messages_of, text_of, url_of
from tests.support import run, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def exporter(staff):
    return staff(*VIEW, "export_execution", name="exporter")


@pytest.fixture
def failed(register, service):
    """An execution with all that an export has."""
    register("flaky", lambda: 1 / 0, retry=Retry(2, initial=0.0))
    code = "print('begun')\nawait approve({1: what})\nawait flaky()"
    execution = run(code, ["approve", "flaky"], {"what": "it"}, name="budget", key="b-1")
    service.complete_call(execution.pk, 0, True, reason="fine")
    work()
    return Execution.objects.get()


def document(response):
    return json.loads(b"".join(response.streaming_content))


def test_export(failed, exporter):
    assert url_of(failed, "export") in exporter.get(url_of(failed)).content.decode()

    response = exporter.get(url_of(failed, "export"))

    assert response["Content-Type"] == "application/json"
    assert response["Content-Disposition"] == (
        f'attachment; filename="execution-{failed.pk}.json"'
    )
    assert response["X-Content-Type-Options"] == "nosniff"
    exported = document(response)
    assert exported["format"] == "durable_monty.executions/1"
    [execution] = exported["executions"]
    assert execution["id"] == str(failed.pk)
    assert execution["program"]["functions"] == {"approve": "approve", "flaky": "flaky"}
    assert execution["program"]["source"].startswith("print('begun')")
    assert {name: execution[name] for name in ("name", "key", "status", "inputs", "log")} == {
        "name": "budget",
        "key": "b-1",
        "status": "failed",
        "inputs": {"what": "it"},
        "log": "begun\n",
    }
    assert execution["error"]["type"] == "ZeroDivisionError"
    assert execution["forked_from"] is None
    approve, flaky = execution["calls"]
    assert approve["args"] == [{"$dict": [[1, "it"]]}]
    assert (approve["result"], approve["reason"], approve["attempts"]) == (True, "fine", [])
    assert (flaky["status"], flaky["result"], flaky["attempt"]) == ("failed", None, 2)
    assert [attempt["number"] for attempt in flaky["attempts"]] == [1, 2]
    assert flaky["attempts"][0]["error"]["message"] == "division by zero"


@pytest.mark.parametrize("unseen", ["view_call", "view_program"])
def test_who_does_not_see_all_of_it_exports_nothing(failed, staff, unseen):
    client = staff("export_execution", *(name for name in VIEW if name != unseen))

    assert client.get(url_of(failed, "export")).status_code == 403
    data = {"action": "export", "_selected_action": [failed.pk]}
    assert client.post(list_url(Execution), data).status_code == 403
    assert "/export/" not in client.get(url_of(failed)).content.decode()


@pytest.mark.parametrize("permissions", [VIEW, ("export_execution",)])
def test_exporting_needs_its_permission(failed, staff, permissions):
    client = staff(*permissions)

    assert client.get(url_of(failed, "export")).status_code == 403
    data = {"action": "export", "_selected_action": [failed.pk]}
    assert client.post(list_url(Execution), data).status_code in (200, 302, 403)
    assert "export" not in client.get(list_url(Execution)).content.decode()


def test_export_many(failed, exporter, asked, monkeypatch):
    asked()
    asked()
    chosen = [str(pk) for pk in Execution.objects.order_by("pk").values_list("pk", flat=True)[:2]]
    data = {"action": "export", "_selected_action": chosen}

    response = exporter.post(list_url(Execution), data)

    assert [row["id"] for row in document(response)["executions"]] == chosen
    monkeypatch.setattr(pages, "AT_ONCE", 1)
    response = exporter.post(list_url(Execution), data)
    assert messages_of(exporter.get(response.url)) == [
        ("error", "Nothing was changed: select no more than 1 at once.")
    ]


def test_export_of_a_value_that_was_damaged(failed, exporter):
    Execution.objects.update(inputs="{damaged")

    [execution] = document(exporter.get(url_of(failed, "export")))["executions"]

    assert execution["inputs"] == "{damaged"


def test_export_reads_calls_in_a_fixed_number_of_queries(
    failed, exporter, django_assert_num_queries
):
    exporter.get(url_of(failed, "export"))
    with django_assert_num_queries(11):
        document(exporter.get(url_of(failed, "export")))


# --- long values ---


def download(client, row, name):
    return client.get(url_of(row, "download") + f"?file={name}")


def test_what_a_page_cuts_can_be_downloaded(viewer):
    text = "<b>" * 10_000
    run("print(text)\nawait echo(text)", ["echo"], {"text": text})
    execution, call = Execution.objects.get(), Call.objects.get()

    for row, name in [
        (execution, "inputs.json"),
        (execution, "output.json"),
        (call, "arguments.json"),
        (call, "result.json"),
    ]:
        page = viewer.get(url_of(row))
        assert f"{url_of(row, 'download')}?file={name}" in page.content.decode()
        assert "Download all of it (29.3" in text_of(page)
        response = download(viewer, row, name)
        assert text in response.content.decode()
        json.loads(response.content)
        assert response["Content-Type"] == "application/json"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Disposition"] == (
            f'attachment; filename="{row._meta.model_name}-{row.pk}-{name}"'
        )
    response = download(viewer, execution, "log.txt")
    assert response.content.decode() == f"{text}\n"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert "file=log.txt" not in viewer.get(url_of(execution)).content.decode()


def test_what_cannot_be_downloaded(asked, viewer, staff):
    call = asked()

    assert download(viewer, call, "result.json").status_code == 404  # it has none
    assert download(viewer, call, "secret.json").status_code == 404
    assert download(viewer, call, "").status_code == 404
    nowhere = reverse("admin:durable_monty_call_download", args=["0"])
    assert viewer.get(nowhere + "?file=arguments.json").status_code == 404
    blind = staff("view_execution")
    assert download(blind, call, "arguments.json").status_code == 403

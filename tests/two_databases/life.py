"""Run by `test_two_databases.py`: an approval, from the start to long after its author left."""

import json
import uuid

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.urls import reverse

from durable_monty import LocalExecutor, OrchestratorService, Worker
from durable_monty.models import Call, Execution

CODE = "[await add(1, 2), await approve('the parcel')]"


def main():
    assert "durable_monty_call" not in connections["default"].introspection.table_names()
    tables = connections["durable"].introspection.table_names()
    assert {table for table in tables if not table.startswith("django_migrations")} == {
        table for table in tables if table.startswith("durable_monty_")
    }

    service = OrchestratorService()
    execution_id = service.start_execution(CODE, ["add", "approve"])
    worker = Worker(service, LocalExecutor())
    while not (calls := Call.objects.waiting_for_people()):
        worker.run(once=True)
    (call,) = calls

    clerk, client = someone("clara")
    answer = {"outcome": "complete", "result": "true", "reason": "seen it"}
    response = client.post(page_of(call), answer)
    assert response.status_code == 302, response.content.decode()
    worker.run(until_complete=True)
    assert service.get_result(execution_id) == [3, True]

    # By a script, too.
    other_id = service.start_execution("await approve('another')", ["approve"])
    worker.run(once=True)
    service.complete_call(other_id, 0, result=False, user=clerk, reason="no")
    fork_id = service.fork_execution(execution_id, 2)

    call.refresh_from_db()
    assert (call.completed_by_id, call.completed_by_name) == (clerk.pk, "clara")
    _colleague, client = someone("dora")
    assert client.post(reverse_user("delete", clerk), {"post": "yes"}).status_code == 302
    assert not get_user_model().objects.filter(username="clara").exists()

    call.refresh_from_db()
    assert (call.completed_by_name, call.reason) == ("clara", "seen it")
    execution = Execution.objects.get(pk=execution_id)
    for address in [page_of(call), page_of(execution)]:
        page = client.get(address)
        assert page.status_code == 200, address
        assert "clara" in page.content.decode(), address
    lists = [reverse(f"admin:durable_monty_{name}_changelist") for name in ("call", "execution")]
    for address in [*lists, reverse("admin:app_list", args=["durable_monty"])]:
        assert client.get(address).status_code == 200, address
    for turn in (1, 2, 3):
        assert client.get(page_of(execution, "turn", turn)).status_code == 200
    late = client.post(page_of(call), answer, follow=True).content.decode()
    assert "by clara" in late, late
    waiting = Execution.objects.get(pk=service.start_execution("await approve('x')", ["approve"]))
    for verb in ("pause", "resume", "restart", "cancel"):
        order = {"reason": f"to {verb}", "form_token": uuid.uuid4().hex}
        assert client.post(page_of(waiting, verb), order).status_code == 302, verb
        assert LogEntry.objects.filter(change_message__contains=f"to {verb}").exists(), verb
    assert "to cancel" in client.get(page_of(waiting)).content.decode()
    for execution_id in Execution.objects.active().values_list("pk", flat=True):
        service.terminate_execution(execution_id)
    export = client.get(page_of(execution, "export"))
    document = json.loads(b"".join(export.streaming_content))
    (exported,) = document["executions"]
    assert exported["calls"][1]["completed_by"] == "clara"
    assert Call.objects.get(execution=fork_id, call_id=1).completed_by_name == "clara"
    print("done")


def someone(name):
    user = get_user_model().objects.create_superuser(name, f"{name}@example.org", "secret")
    assert Permission.objects.filter(codename="complete_call").exists()
    client = Client()
    client.force_login(user)
    return user, client


def page_of(row, view="change", *more):
    return reverse(f"admin:durable_monty_{row._meta.model_name}_{view}", args=[row.pk, *more])


def reverse_user(view, user):
    label = get_user_model()._meta
    return reverse(f"admin:{label.app_label}_{label.model_name}_{view}", args=[user.pk])

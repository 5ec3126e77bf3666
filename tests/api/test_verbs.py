"""What can be done with executions, and that it is noted."""

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry

from durable_monty import NonRetryable, Retry
from durable_monty.models import ApiKey, Call, Execution
from tests.support import run, work

pytestmark = pytest.mark.django_db


def done(response):
    assert response.status_code == 200, response.content
    return response.json()


def notes():
    """(flag, object, text), without the key's name."""
    name = f" API key: {ApiKey.objects.get()}."
    entries = LogEntry.objects.order_by("pk")
    return [
        (entry.action_flag, entry.object_id, entry.change_message.removesuffix(name))
        for entry in entries
    ]


@pytest.mark.parametrize(
    ("verb", "status", "text"),
    [
        ("pause", "paused", "Paused."),
        ("terminate", "cancelled", "Terminated."),
        ("cancel", "waiting", "Cancelled."),
    ],
)
def test_stopping(api, asked, verb, status, text):
    execution = asked()

    state = done(api.post(f"/executions/{execution.pk}/{verb}", {"reason": "lunch"}))

    assert state == {"execution_id": str(execution.pk), "status": status}
    row = Execution.objects.get()
    assert "lunch" in (row.reason, row.error_message)  # the error of one that has ended
    assert (row.cancel_requested_at is not None) == (verb == "cancel")
    assert notes() == [(CHANGE, str(execution.pk), f"{text} Reason: lunch")]


def test_cancelling_takes_its_grace(api, asked):
    execution = asked()
    done(api.post(f"/executions/{execution.pk}/cancel", {"grace": 0}))
    row = Execution.objects.get()
    assert row.grace_until == row.cancel_requested_at


def test_resuming(api, asked, service):
    execution = asked()
    service.pause_execution(execution.pk)
    state = done(api.post(f"/executions/{execution.pk}/resume"))
    assert state["status"] == "waiting"
    assert notes() == [(CHANGE, str(execution.pk), "Resumed.")]


@pytest.fixture
def failed(register):
    answers = iter([NonRetryable("out of stock"), "sent"])

    def send():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    register("send", send)
    return run("await send()", ["send"])


def test_resolving(api, failed):
    assert api.post(f"/executions/{failed.pk}/resolve", {}).status_code == 422
    state = done(api.post(f"/executions/{failed.pk}/resolve", {"reason": "by telephone"}))
    assert state["status"] == "failed"
    assert Execution.objects.get().resolution == "by telephone"
    assert notes() == [(CHANGE, str(failed.pk), "Resolved. Reason: by telephone")]


def test_retrying_a_failed_execution(api, failed, service):
    made = done(api.post(f"/executions/{failed.pk}/retry", {"key": "again"}))
    assert made["execution_id"] != str(failed.pk)
    work()
    assert service.get_result(made["execution_id"]) == "sent"
    shown = api.get(f"/executions/{failed.pk}").json()
    assert shown["retried_by"] == made["execution_id"]
    assert shown["error"]["message"] == "out of stock"
    assert notes() == [
        (ADDITION, made["execution_id"], f"Forked from {failed.pk}."),
        (CHANGE, str(failed.pk), f"Retried. The new execution is {made['execution_id']}."),
    ]


def test_a_call_that_waits_is_tried_now(api, register, service):
    answers = iter([ValueError("not yet"), 5])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    register("ask", ask, retry=Retry(max_attempts=2, initial=3_600.0))
    execution_id = service.start_execution("await ask()", ["ask"])
    work()
    assert Call.objects.get().status == "pending"

    state = done(api.post(f"/executions/{execution_id}/calls/0/retry", {"reason": "it is up"}))

    assert state == {"execution_id": execution_id, "call_id": 0, "status": "pending"}
    work()
    assert service.get_result(execution_id) == 5
    assert notes() == [(CHANGE, str(Call.objects.get().pk), "Retried. Reason: it is up")]


def test_forking_with_another_answer(api, asked, service):
    execution = asked("await approve(1)")
    service.complete_call(execution.pk, 0, "no")
    work()
    assert service.get_result(execution.pk) == "no"
    given = {
        "turn": 1,
        "answers": [{"call_id": 0, "result": "yes"}],
        "name": "second thoughts",
        "key": "fork-1",
        "reason": "it was a mistake",
    }

    made = done(api.post(f"/executions/{execution.pk}/fork", given))
    again = api.post(f"/executions/{execution.pk}/fork", given)

    assert done(again) == made
    work()
    assert service.get_result(made["execution_id"]) == "yes"
    shown = api.get(f"/executions/{made['execution_id']}").json()
    assert (shown["name"], shown["forked_turn"]) == ("second thoughts", 1)
    assert shown["forked_from"] == str(execution.pk)
    assert notes()[:2] == [
        (
            ADDITION,
            made["execution_id"],
            f"Forked from {execution.pk}. Reason: it was a mistake",
        ),
        (
            CHANGE,
            str(execution.pk),
            f"Forked. The new execution is {made['execution_id']}. Reason: it was a mistake",
        ),
    ]


def test_forking_with_an_error_and_with_another_source(api, asked, service):
    execution = asked("await approve(1)")
    path = f"/executions/{execution.pk}/fork"
    failing = done(api.post(path, {"turn": 1, "answers": [{"call_id": 0, "error": "no"}]}))
    edited = done(api.post(path, {"turn": 1, "code": "await approve(1)\n'edited'"}))
    work()
    assert api.get(f"/executions/{failing['execution_id']}").json()["status"] == "failed"
    service.complete_call(edited["execution_id"], 0, None)
    work()
    assert service.get_result(edited["execution_id"]) == "edited"
    differs = api.post(path, {"turn": 1, "code": "await approve(2)"})
    assert (differs.status_code, differs.json()["error"]["code"]) == (422, "replay_mismatch")

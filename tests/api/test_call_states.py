"""Pages, the API and the doctor say the same of a call, whatever its state."""

import itertools
from datetime import timedelta

import pytest
from django.urls import reverse

from durable_monty.kinds import CallKind
from durable_monty.models import Call, CallStatus, WorkerProcess
from durable_monty.models.call import ACCEPTED, OPEN
from durable_monty.models.clock import database_now
from durable_monty.operations import register_worker
from durable_monty.reads.call_state import CallState, call_state, is_retrying
from durable_monty.reads.fleet import read_fleet
from durable_monty.reads.queues import read_queues
from tests.admin.pages import text_of, url_of
from tests.doctor.reports import doctor

pytestmark = pytest.mark.django_db

PAST, FUTURE = timedelta(minutes=-2), timedelta(minutes=2)
SLEEP = "import asyncio\nawait asyncio.sleep(60)"
# State -> source, columns, what pages say that it waits for, what the doctor says, its queue.
STATES = {
    CallState.PERSON: ("await approve(1)", {}, "a person", "waiting for a person since", ""),
    CallState.SLEEPING: (SLEEP, {"due_at": FUTURE}, "a sleep until", "sleeping until", ""),
    CallState.SLEEP_OVER: (SLEEP, {"due_at": PAST}, "a sleep until", "its sleep was over at", ""),
    CallState.QUEUED: ("", {"due_at": PAST}, "a worker", "due since", "queued"),
    CallState.CLAIMED: (
        "",
        {"status": "submitted", "due_at": FUTURE},
        "the queue of {worker}",
        "in the queue of {worker}, not started yet",
        "queued",
    ),
    CallState.RUNNING: (
        "",
        {"status": "submitted", "due_at": FUTURE, "started_at": PAST, "attempt": 3},
        "attempt 3 on {worker}",
        "attempt 3 runs since",
        "running",
    ),
    CallState.ACCEPTED: (
        "",
        {"status": "submitted", "due_at": PAST, "attempt": 3, "job_id": f"1{ACCEPTED}"},
        "attempt 3 on webhook",
        "attempt 3 was accepted by a service",
        "running",
    ),
    CallState.RETRYING: (
        "",
        {"due_at": FUTURE, "failures": 1},
        "attempt 2, retries at",
        "a retry is due at",
        "later",
    ),
    CallState.VANISHED: (
        "",
        {"status": "submitted", "due_at": PAST, "started_at": PAST},
        "a worker",
        "{worker} had it and vanished",
        "queued",
    ),
    CallState.NEVER_DUE: (
        "",
        {"due_at": None},
        "nothing, because it has no due time",
        "it has no due time",
        "later",
    ),
}


def test_every_open_state_is_tested():
    closed = {CallState(status) for status in CallStatus if status not in OPEN}
    # No kind of call needs neither a worker nor a person yet.
    assert {*CallState} - {*STATES} == closed | {CallState.EXPECTED}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_pages_api_and_doctor_agree(state, api, admin_client, service):
    source, columns, page_says, doctor_says, queue = STATES[state]
    functions = [] if source == SLEEP else ["approve", "double"]
    execution_id = service.start_execution(source or "await double(1)", functions)
    service.process_execution(execution_id)
    worker = WorkerProcess.objects.get(pk=register_worker("local", ["double"], using="default"))
    now = database_now("default")
    Call.objects.update(
        worker=worker,
        **{
            name: now + value if isinstance(value, timedelta) else value
            for name, value in columns.items()
        },
    )
    call = Call.objects.get()

    assert call_state(call, now) is state
    assert Call.objects.filter(is_retrying(now)).exists() == (state is CallState.RETRYING)
    page_says, doctor_says = page_says.format(worker=worker), doctor_says.format(worker=worker)
    for page in (
        url_of(call),
        url_of(call.execution),
        reverse("admin:durable_monty_call_changelist"),
    ):
        assert page_says in text_of(admin_client.get(page))
    status, explained = doctor(execution_id).lines[:2]
    assert page_says in status
    assert f"{call.function}(): {doctor_says}" in explained
    shown = api.get(f"/executions/{execution_id}/calls").json()["items"]
    assert [each["status"] for each in shown] == [call.status]
    pending = api.get(f"/executions/{execution_id}").json()["pending_calls"]
    assert len(pending) == (source != SLEEP)
    queues = read_queues(read_fleet(now, "default"), now, "default").functions
    counted = [
        name for name in ("queued", "running", "later") for each in queues if getattr(each, name)
    ]
    assert counted == ([queue] if queue else [])


def test_the_condition_of_a_retry_is_its_state(service):
    execution_id = service.start_execution("await double(1)", ["double"])
    service.process_execution(execution_id)
    now = database_now("default")
    for kind, executor, status, due, job_id in itertools.product(
        CallKind.values, ["default", "manual", "engine"], OPEN, [None, PAST, FUTURE], ["", "1"]
    ):
        name = "asyncio.sleep" if kind == CallKind.TIMER else "double"
        due_at = None if due is None else now + due
        Call.objects.update(
            kind=kind,
            executor=executor,
            function=name,
            status=status,
            due_at=due_at,
            job_id=job_id,
        )
        is_state = call_state(Call.objects.get(), now) is CallState.RETRYING
        if kind == CallKind.FUNCTION:
            assert Call.objects.filter(is_retrying(now)).exists() == is_state

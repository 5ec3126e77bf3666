"""Run by `test_time_zones.py`: a life of executions, each of whose times must be right to the
second, by a clock that knows nothing of zones."""

import os
import time
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from durable_monty import (
    LocalExecutor,
    OrchestratorService,
    Retry,
    Worker,
    operations,
    register_function,
)
from durable_monty.models import Attempt, Call, Execution, WorkerProcess, clock
from durable_monty.models.clock import database_now, now_of, with_now
from durable_monty.operations.schedule import lease
from durable_monty.reads.finished import PERIODS, read_recent

HOUR = timedelta(hours=1)
NEAR = timedelta(minutes=5)  # a zone is at least half an hour off


@register_function(
    "fail_at_first", retry=Retry(max_attempts=2, initial=3600, jitter=0, max_interval=7200)
)
def fail_at_first():
    if not seen:
        seen.append(1)
        raise ValueError("not yet")
    return "tried again"


@register_function("wait_for_a_worker", executor="elsewhere", schedule_to_start=3600)
def wait_for_a_worker(): ...


@register_function("change_the_zone", transactional=True)
def change_the_zone():
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'Asia/Kolkata'")
    return "changed"


seen = []
service = OrchestratorService()
worker = Worker(service, LocalExecutor())


def now():
    return datetime.now(UTC) + clock.offset


def assert_near(moment, wanted):
    assert abs(moment - wanted) < NEAR, (moment, wanted)


def start(code, *functions, **options):
    pk = service.start_execution(code, functions, **options)
    execution = Execution.objects.get(pk=pk)
    assert_near(execution.created_at, now())
    assert_near(execution.due_at, now())
    return execution


def until(execution, *, is_done):
    """Rounds of the worker; it looks at everything in each."""
    deadline = time.monotonic() + 30
    while not is_done():
        assert time.monotonic() < deadline, Execution.objects.filter(pk=execution.pk).values()
        worker.run(once=True)


def waits(execution):
    return lambda: Execution.objects.filter(pk=execution.pk, status="waiting", claim=None).exists()


def ends(execution):
    return lambda: Execution.objects.get(pk=execution.pk).status in ("completed", "failed")


def move(delta):
    clock.offset += delta


def sleeps():
    execution = start(
        "from asyncio import sleep\nfrom datetime import datetime\n"
        "before = datetime.now()\nawait sleep(3600)\n[before, datetime.now()]"
    )
    began = now()
    until(execution, is_done=waits(execution))
    timer = Call.objects.get(execution=execution, kind="timer")
    assert_near(timer.due_at, began + HOUR)
    assert operations.settle_timers(10, using="default") == 0
    due = operations.find_due([], [], ahead=7200, using="default")
    assert not due.timers
    assert abs(due.wait - 3600) < 300, due.wait
    move(HOUR)
    until(execution, is_done=ends(execution))
    before, after = service.get_result(execution.pk)
    assert_near(before.replace(tzinfo=UTC), began)
    assert_near(after.replace(tzinfo=UTC), began + HOUR)
    timer.refresh_from_db()
    assert_near(timer.finished_at, now())


def retries():
    execution, began = start("await fail_at_first()", "fail_at_first"), now()
    until(execution, is_done=Attempt.objects.exists)
    attempt = Attempt.objects.get()
    assert_near(attempt.started_at, began)
    assert_near(attempt.ended_at, began)
    assert_near(Call.objects.get(execution=execution).due_at, began + HOUR)
    worker.run(once=True)
    assert not ends(execution)()
    move(HOUR)
    until(execution, is_done=ends(execution))
    assert service.get_result(execution.pk) == "tried again"


def times_out():
    execution, began = start("await wait_for_a_worker()", "wait_for_a_worker"), now()
    until(execution, is_done=waits(execution))
    call = Call.objects.get(execution=execution)
    assert_near(call.start_by, began + HOUR)
    assert_near(call.deadline_at, began + HOUR)
    assert operations.settle_overdue(10, using="default") == 0
    (claimed,) = operations.claim_calls(["wait_for_a_worker"], ["elsewhere"], 1, using="default")
    call.refresh_from_db()
    assert_near(call.due_at, began + lease())
    operations.release_calls([claimed], using="default")
    call.refresh_from_db()
    assert_near(call.due_at, began)
    assert_near(call.deadline_at, began + HOUR)
    move(HOUR + NEAR)
    until(execution, is_done=ends(execution))
    assert Execution.objects.get(pk=execution.pk).error_type == "TimeoutError"


def passes_its_deadline():
    execution = start("await approve('x')", "approve", deadline=HOUR)
    assert_near(execution.deadline, now() + HOUR)
    until(execution, is_done=waits(execution))
    assert operations.expire_executions(10, using="default") == 0
    move(HOUR + NEAR)
    until(execution, is_done=ends(execution))
    assert_near(Execution.objects.get(pk=execution.pk).finished_at, now())


def is_claimed_and_comes_back():
    execution, began = start("await approve('x')", "approve"), now()
    (claimed,) = operations.claim_executions(10, using="default")
    assert_near(claimed.due_at, began + lease())
    assert operations.claim_executions(10, using="default") == []
    execution.refresh_from_db()
    assert execution.due_at == claimed.due_at
    move(lease())
    (again,) = operations.claim_executions(10, using="default")
    assert (again.pk, again.faults) == (execution.pk, 1)
    move(lease())
    until(execution, is_done=waits(execution))
    service.complete_call(execution.pk, 0, True)
    assert_near(Execution.objects.get(pk=execution.pk).due_at, now())
    assert_near(Call.objects.get(execution=execution).finished_at, now())
    until(execution, is_done=ends(execution))


def is_answered_by_a_session_of_another_zone():
    """The caller's own, and that of a function."""
    execution = start("await approve('x')\nawait change_the_zone()", "approve", "change_the_zone")
    until(execution, is_done=waits(execution))
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL TIME ZONE 'America/New_York'")
            service.complete_call(execution.pk, 0, True)
    else:
        service.complete_call(execution.pk, 0, True)
    assert_near(Execution.objects.get(pk=execution.pk).due_at, now())
    until(execution, is_done=ends(execution))
    for call in Call.objects.filter(execution=execution):
        assert_near(call.finished_at, now())
        assert_near(call.created_at, now())


def is_reported():
    row = with_now(Execution.objects.all()).first()
    assert_near(now_of(row), now())
    assert_near(database_now("default"), now())
    process = WorkerProcess.objects.first()
    assert_near(process.started_at, now())
    assert_near(process.heartbeat_at, now())
    buckets = read_recent(PERIODS["hour"], database_now("default"), "default").throughput.buckets
    assert sum(bucket.completed for bucket in buckets[-2:]) > 0


def main():
    if began := os.environ["BEGAN"]:
        move(datetime.fromisoformat(began) - datetime.now(UTC))
    sleeps()
    retries()
    times_out()
    passes_its_deadline()
    is_claimed_and_comes_back()
    is_answered_by_a_session_of_another_zone()
    is_reported()
    print("done")

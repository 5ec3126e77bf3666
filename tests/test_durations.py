"""No number that a function, a workflow or a row gives ends a worker."""

from datetime import UTC, datetime, timedelta
from math import inf, nan

import pytest

from durable_monty import Retry, RetryAfter
from durable_monty.durations import LONGEST, capped, later
from durable_monty.models import Call
from durable_monty.operations.repair import repair
from tests.support import run, work

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "used"), [(5, 5), (-1, 0), (nan, 0), (inf, LONGEST), (1e300, LONGEST)]
)
def test_what_is_added(seconds, used):
    assert capped(seconds) == used
    assert later(NOON, seconds) == NOON + timedelta(seconds=used)


def test_nothing_is_later_than_what_every_time_zone_can_show():
    last = later(datetime.max.replace(tzinfo=UTC), 5)
    assert last == datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [1.7e12, inf, 1e300])
def test_a_function_that_asks_for_an_absurd_wait_is_tried_again_in_30_days(
    service, register, move_clock, seconds
):
    errors = [RetryAfter(seconds)]

    def busy():
        if errors:
            raise errors.pop()
        return "done"

    register("busy", busy, retry=Retry(2))
    execution = run("await busy()", ["busy"])
    call = execution.calls.get()
    assert (call.status, call.failures) == ("pending", 1)
    assert abs(call.due_at - call.started_at - timedelta(days=30)) < timedelta(minutes=1)

    move_clock(30 * 86_400 + 1)
    work()
    assert service.get_result(execution.pk) == "done"


@pytest.mark.parametrize(
    ("delay", "caught"),
    [
        ("float('nan')", "ValueError: Invalid delay: NaN (not a number)"),
        ("float('inf')", "OverflowError: asyncio.sleep() takes at most 100 years"),
        ("10**400", "OverflowError: asyncio.sleep() takes at most 100 years"),
        ("1e13", "OverflowError: asyncio.sleep() takes at most 100 years"),
    ],
)
def test_a_sleep_that_cannot_be_is_an_error_of_the_workflow(service, delay, caught):
    code = f"""
from asyncio import sleep
try:
    await sleep({delay})
except Exception as error:
    seen = f"{{type(error).__name__}}: {{error}}"
seen
"""
    assert service.get_result(run(code).pk) == caught


def test_a_number_that_was_put_into_a_row_ends_nothing(service):
    execution = run("from asyncio import sleep\nawait sleep(60)")
    Call.objects.update(args="[1e300]", due_at=None)

    assert repair("call-never-due", execution.pk, 0, using="default")

    call = Call.objects.get()
    assert call.due_at == call.created_at + timedelta(seconds=LONGEST)
    work()
    assert service.poll(execution.pk)["status"] == "waiting"

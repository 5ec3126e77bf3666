import pytest
from asgiref.sync import async_to_sync

from durable_monty.exceptions import ExecutionNotFailed, ExecutionNotFound, ExecutionNotResolved
from durable_monty.models import Execution
from tests.support import run

pytestmark = pytest.mark.django_db

NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def failed(db):
    return run("await add(1, 2)\n1 / 0", ["add"])


def test_the_failures_can_be_worked_down_to_none(service, failed, move_clock):
    assert [row.pk for row in Execution.objects.failures()] == [failed.pk]

    service.resolve_execution(failed.pk, "paid by hand")
    first = Execution.objects.get()
    move_clock(60)
    service.resolve_execution(failed.pk, "again")  # changes nothing

    execution = Execution.objects.get()
    assert (execution.status, execution.resolution) == ("failed", "paid by hand")
    assert execution.handled_at == first.handled_at
    assert not Execution.objects.failures().exists()

    service.unresolve_execution(failed.pk)

    execution = Execution.objects.get()
    assert (execution.handled_at, execution.resolution) == (None, "")
    assert Execution.objects.failures().exists()


def test_only_failures_are_resolved(service):
    execution = run("await approve('it')", ["approve"])
    with pytest.raises(ExecutionNotFailed) as raised:
        service.resolve_execution(execution.pk, "no")
    assert str(raised.value) == (
        f"Execution {execution.pk} is waiting, not failed: there is nothing to resolve."
    )
    assert Execution.objects.get().handled_at is None


def test_what_was_not_resolved_by_hand(service, failed, register):
    with pytest.raises(ExecutionNotResolved) as raised:
        service.unresolve_execution(failed.pk)
    assert str(raised.value) == (
        f"Execution {failed.pk} was not resolved by hand: there is nothing to take back."
    )
    register("explode", lambda: 1 / 0)
    retried = run("await explode()", ["explode"])
    service.retry_execution(retried.pk)
    with pytest.raises(ExecutionNotResolved):
        service.unresolve_execution(retried.pk)
    for change in (
        lambda: service.resolve_execution(NOWHERE, ""),
        lambda: service.unresolve_execution(NOWHERE),
    ):
        with pytest.raises(ExecutionNotFound):
            change()


@pytest.mark.django_db(transaction=True)
def test_async_twins(service, failed):
    async def change():
        await service.aresolve_execution(failed.pk, "seen")
        assert not await Execution.objects.failures().aexists()
        await service.aunresolve_execution(failed.pk)

    async_to_sync(change)()
    assert Execution.objects.failures().exists()

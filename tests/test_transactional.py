"""Functions that run in the transaction that records their answer."""

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from durable_monty import LocalExecutor, Retry, Worker, operations
from durable_monty.models import Call
from tests.support import advance, run, work

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def add_group(register):
    """Writes a row, then does what the test asks for."""
    then = []

    def add_group(name):
        assert transaction.get_connection().in_atomic_block
        Group.objects.create(name=name)
        for action in then:
            action()
        return name

    register("add_group", add_group, transactional=True)
    return then


def test_effect_and_answer_are_one(service, add_group):
    execution = run("await add_group('a')", ["add_group"])
    assert service.get_result(execution.pk) == "a"
    assert Group.objects.count() == 1


def test_exception_undoes_the_effect(add_group):
    def refuse():
        raise ValueError("no")

    add_group.append(refuse)
    execution = run("await add_group('a')", ["add_group"])
    assert (execution.error_type, Group.objects.count()) == ("ValueError", 0)


def test_refused_answer_undoes_the_effect(service, add_group, move_clock):
    """The lease ran out while the function ran, and another attempt was faster."""
    execution_id = service.start_execution("await add_group('a')", ["add_group"])
    advance(execution_id)
    (claimed,) = operations.claim_calls(["add_group"], ["default"], 1, using="default")
    (slow,) = operations.start_attempts([claimed], using="default")
    move_clock(61)
    work()
    from durable_monty.executors.run import run_started

    assert Group.objects.count() == 1
    Group.objects.all().delete()
    run_started(slow, using="default")
    assert Group.objects.count() == 0
    assert service.get_result(execution_id) == "a"


def test_unstorable_result_undoes_the_effect(register):
    def add_group():
        Group.objects.create(name="a")
        return object()

    register("add_group", add_group, transactional=True)
    execution = run("await add_group()", ["add_group"])
    assert (execution.error_type, Group.objects.count()) == ("TypeError", 0)


def test_retry_starts_from_nothing(service, register, move_clock):
    attempts = []

    def add_group():
        Group.objects.create(name="a")
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("down")

    register("add_group", add_group, transactional=True, retry=Retry(3, initial=1, jitter=0))
    execution = run("await add_group()", ["add_group"])
    for _ in range(2):
        move_clock(10)
        work()
    assert service.poll(execution.pk)["status"] == "completed"
    assert Group.objects.count() == 1


def test_constraint_that_the_commit_finds_fails_the_call(register):
    """On databases that check foreign keys at the end of the transaction."""
    from django.contrib.auth.models import Permission

    def add_permission():
        Permission.objects.create(name="a", codename="a", content_type_id=10**6)

    register("add_permission", add_permission, transactional=True)
    execution = run("await add_permission()", ["add_permission"])
    assert execution.status == "failed"
    assert Call.objects.get().error_type == "IntegrityError"
    assert not Permission.objects.filter(codename="a").exists()


def test_in_the_threads_of_the_local_executor(service, add_group):
    ids = [
        service.start_execution("await add_group(name)", ["add_group"], {"name": f"g{n}"})
        for n in range(12)
    ]
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert [service.get_result(execution_id) for execution_id in ids] == [
        f"g{n}" for n in range(12)
    ]
    assert Group.objects.count() == 12

import pytest

from durable_monty import operations
from durable_monty.models import Call, Execution, WorkerProcess
from tests.support import run

pytestmark = pytest.mark.django_db


def hire(host="here"):
    pk = operations.register_worker("local", ["add"], using="default")
    WorkerProcess.objects.filter(pk=pk).update(host=host)
    return pk


def is_stopped(pk):
    return WorkerProcess.objects.get(pk=pk).stopped_at is not None


def test_only_workers_that_do_not_respond_are_dismissed(move_clock):
    dead, stopped = hire(), hire()
    operations.retire_worker(stopped, using="default")
    move_clock(16)
    alive = hire()
    assert operations.dismiss_workers([dead, stopped, alive], using="default") == [dead]
    assert (is_stopped(dead), is_stopped(alive)) == (True, False)


def test_one_that_was_only_slow_comes_back(move_clock):
    slow = hire()
    move_clock(16)
    operations.dismiss_workers([slow], using="default")
    operations.beat(slow, using="default")
    assert not is_stopped(slow)


@pytest.mark.parametrize(
    ("seconds", "host", "done"), [(74, "here", False), (76, "here", True), (76, "there", False)]
)
def test_a_worker_dismisses_whom_it_replaced(move_clock, seconds, host, done):
    dead = hire()
    move_clock(seconds)
    successor = hire(host)
    expected = [dead] if done else []
    assert operations.dismiss_replaced(successor, using="default") == expected
    assert is_stopped(dead) == done
    assert not is_stopped(successor)


def test_a_companion_replaces_nobody(move_clock):
    dead, companion = hire(), hire()
    operations.beat(dead, using="default")
    move_clock(76)
    operations.beat(companion, using="default")
    assert operations.dismiss_replaced(companion, using="default") == []
    assert not is_stopped(dead)


@pytest.mark.parametrize("model", [Execution, Call])
def test_not_before_its_work_was_taken_over(service, move_clock, model):
    dead = hire()
    run("await approve(1)", ["approve"])
    claim = "0198aaaa-0000-7000-8000-000000000000"
    held = {"claim": claim, "worker_id": dead, "due_at": Execution.objects.get().created_at}
    if model is Call:
        held |= {"executor": "default", "status": "submitted"}
    model.objects.update(**held)
    move_clock(76)
    successor = hire()
    assert operations.dismiss_replaced(successor, using="default") == []
    model.objects.update(worker_id=successor)
    assert operations.dismiss_replaced(successor, using="default") == [dead]

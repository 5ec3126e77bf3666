"""The executor of Django's tasks beside its engine: options, backends that know little or fail."""

import uuid

import pytest
from django import VERSION
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.loading import make_executor
from durable_monty.models import CallStatus
from tests.support import claimed_call

PACKAGE = "django.tasks" if VERSION >= (6,) else "django_tasks"
tasks = pytest.importorskip(PACKAGE)
dummy = pytest.importorskip(f"{PACKAGE}.backends.dummy")
base = pytest.importorskip(f"{PACKAGE}.backends.base")

from durable_monty.executors.django_tasks import DjangoTasksExecutor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


class KeepingBackend(dummy.DummyBackend):
    """Gives the results that it keeps."""

    supports_get_result = True


class RedisBackend(base.BaseTaskBackend):
    """Has no results, and a server that can be away."""

    error = None

    def enqueue(self, task, args, kwargs):
        if self.error:
            raise self.error
        return type("Result", (), {"id": "7"})


@pytest.fixture
def backends(settings):
    def choose(name, **options):
        path = name if name.startswith("tests.") else f"{PACKAGE}.backends.{name}"
        settings.TASKS = {"default": {"BACKEND": path, **options}}
        return tasks.task_backends["default"]

    return choose


@pytest.fixture
def call():
    found, _claimed = claimed_call()
    found.refresh_from_db()
    return found


def test_a_queue_that_the_backend_has_not(backends, durable_settings):
    backends("dummy.DummyBackend", QUEUES=["mail", "heavy"])
    durable_settings(EXECUTORS={"django_tasks": {"queue": "quick"}})
    with pytest.raises(ImproperlyConfigured) as raised:
        make_executor("django_tasks")
    assert str(raised.value) == (
        "The setting TASKS and the executor 'django_tasks' do not go together: "
        "Queue 'quick' is not valid for backend."
    )


@pytest.mark.parametrize(
    ("queues", "queue"), [([], "default"), (["a", "default"], "default"), (["z", "b"], "b")]
)
def test_the_queue_without_the_option(backends, queues, queue):
    backends("dummy.DummyBackend", QUEUES=queues)
    assert DjangoTasksExecutor().queue == queue


def test_a_task_runs_the_call(backends, call):
    backends("immediate.ImmediateBackend")
    DjangoTasksExecutor().submit_call(call)
    call.refresh_from_db()
    assert (call.status, call.result) == (CallStatus.COMPLETED, "3")


def test_a_task_whose_claim_is_used_up_does_nothing(backends, call):
    backends("immediate.ImmediateBackend")
    executor = DjangoTasksExecutor()
    executor.submit_call(call)
    executor.submit_call(call)
    call.claim = uuid.uuid4()
    executor.submit_call(call)
    call.refresh_from_db()
    assert (call.status, call.attempt) == (CallStatus.COMPLETED, 1)


def test_what_waits_is_queued(backends, call):
    backend = backends(f"{__name__}.KeepingBackend")
    executor = DjangoTasksExecutor()
    job_id = executor.submit_call(call)
    assert executor.is_queued(job_id)
    executor.revoke_job(job_id)
    assert not executor.is_queued(job_id)
    job_id = executor.submit_call(call)
    backend.clear()
    assert not executor.is_queued(job_id)


def test_a_task_that_failed_before_it_ran_its_call(backends, call, log):
    backend = backends(f"{__name__}.KeepingBackend")
    executor = DjangoTasksExecutor()
    job_id = executor.submit_call(call)
    (result,) = backend.results
    object.__setattr__(result, "status", tasks.TaskResultStatus.FAILED)
    assert not executor.is_queued(job_id)
    assert [record.getMessage() for record in log.records] == [
        f"The task {result.id} failed before it ran its call: does its worker have the project's "
        "settings and database? no reason is known"
    ]


def test_a_backend_without_results(backends, call):
    backends(f"{__name__}.RedisBackend")
    executor = DjangoTasksExecutor()
    assert not executor.is_queued(executor.submit_call(call))


def test_a_backend_that_is_away(backends, call):
    backend = backends(f"{__name__}.RedisBackend")
    executor = DjangoTasksExecutor()
    away = type("ConnectionError", (Exception,), {})("refused")  # as redis has one
    for error in (away, OperationalError("gone"), OSError(111, "refused")):
        backend.error = error
        with pytest.raises(ExecutorUnavailable):
            executor.submit_call(call)
    backend.error = ValueError("a fault")
    with pytest.raises(ValueError, match="a fault"):
        executor.submit_call(call)

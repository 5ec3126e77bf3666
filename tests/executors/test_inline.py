"""The executor for tests: functions run in the test's own thread, connection and transaction."""

import threading
from textwrap import dedent
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from durable_monty import InlineExecutor, Retry, Worker
from durable_monty.exceptions import ExecutionNotCompleted
from durable_monty.models import Call, WorkerProcess
from tests.app import careless
from tests.support import SEVEN_CALLS, seven_calls_output
from tests.test_checks import ROOT, manage

in_and_outside_of_a_transaction = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("TestCase", marks=pytest.mark.django_db),
        pytest.param("TransactionTestCase", marks=pytest.mark.django_db(transaction=True)),
    ],
)


@pytest.fixture
def elsewhere(monkeypatch):
    """The names of other threads that connect to a database."""
    connect, threads = BaseDatabaseWrapper.connect, set()

    def note(self):
        threads.add(threading.current_thread().name)
        return connect(self)

    monkeypatch.setattr(BaseDatabaseWrapper, "connect", note)
    return threads


def work(service):
    assert Worker(service, InlineExecutor()).run(until_complete=True) is True


@in_and_outside_of_a_transaction
def test_functions_share_thread_connection_and_transaction(service, register, elsewhere, kind):
    Group.objects.create(name="of the test")
    seen = []

    def add_group(name):
        seen.append((threading.current_thread(), connection.connection))
        Group.objects.create(name=name)
        return sorted(Group.objects.values_list("name", flat=True))

    register("add_group", add_group)
    execution_id = service.start_execution("await add_group('of the function')", ["add_group"])
    work(service)
    names = ["of the function", "of the test"]
    assert service.get_result(execution_id) == names
    assert sorted(Group.objects.values_list("name", flat=True)) == names
    assert seen == [(threading.current_thread(), connection.connection)]
    assert elsewhere <= {threading.current_thread().name}
    assert WorkerProcess.objects.get().executor == "inline"


@in_and_outside_of_a_transaction
def test_many_workflows(service, elsewhere, kind):
    ids = [service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for x in range(9)]
    work(service)
    assert [service.get_result(execution_id) for execution_id in ids] == [
        seven_calls_output(x) for x in range(9)
    ]
    assert elsewhere <= {threading.current_thread().name}


@pytest.mark.django_db
def test_functions_of_every_executor_run_and_people_answer(service, register):
    register("encode", lambda: "encoded", executor="gpu")
    execution_id = service.start_execution(
        "[await encode(), await async_double(2), await approve(1)]",
        ["encode", "async_double", "approve"],
    )
    work(service)
    assert service.get_pending_calls(execution_id) == [
        {"call_id": 2, "function_name": "approve", "args": [1], "kwargs": {}}
    ]
    service.complete_call(execution_id, 2, True)
    work(service)
    assert service.get_result(execution_id) == ["encoded", 4, True]


@pytest.mark.django_db
@pytest.mark.parametrize("transactional", [False, True])
def test_error_leaves_the_transaction_of_the_test_usable(service, register, transactional):
    group = Group.objects.create(name="of the test")

    def violate():
        Group.objects.create(name="before it")
        Group.objects.create(pk=group.pk, name="again")

    register("violate", violate, transactional=transactional)
    execution_id = service.start_execution("await violate()", ["violate"])
    work(service)
    with pytest.raises(ExecutionNotCompleted):
        service.get_result(execution_id)
    assert Call.objects.get().error_type == "IntegrityError"
    # A transaction that an error of the database broke cannot keep what came before it.
    assert set(Group.objects.values_list("name", flat=True)) == {"of the test"}


@pytest.mark.django_db
def test_what_was_written_before_an_exception_is_kept_as_in_production(service, register):
    def fail():
        Group.objects.create(name="a")
        raise OSError("down")

    register("fail_after", fail, retry=Retry(2, initial=0))
    service.start_execution("await fail_after()", ["fail_after"])
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name="b")
        Group.objects.create(name="b")
    work(service)
    assert Call.objects.get().attempts.count() == 2
    assert Group.objects.filter(name="a").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("how", "deed"),
    [
        ("atomic_entered", "left a transaction open"),
        ("atomic_entered_twice", "left a transaction open"),
        ("swallow", "left a broken transaction"),
    ],
)
def test_bad_state_is_said_and_put_right(service, how, deed):
    execution_id = service.start_execution("await careless(how)", ["careless"], {"how": how})
    assert hasattr(careless, how)
    Group.objects.create(name="of the test")
    work(service)
    assert f"careless() {deed} on the database 'default'." in service.poll(execution_id)["error"]
    assert set(Group.objects.values_list("name", flat=True)) == {"of the test"}


@pytest.mark.django_db
def test_error_of_the_worker_itself_is_raised_in_a_transaction(service):
    """In a loop that tries again it would stand for ever in a transaction that is broken."""
    service.start_execution("1", [])
    worker = Worker(service, InlineExecutor())
    with mock.patch.object(worker._engine, "round", side_effect=OSError("no")):
        with pytest.raises(OSError, match="no"):
            worker.run(until_complete=True)


def test_djangos_own_runner_with_a_database_in_memory(tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
    done = manage(
        "test",
        "shop",
        DJANGO_SETTINGS_MODULE="site_settings",
        PYTHONPATH=f"{tmp_path}:{ROOT}",
        PYTHONWARNINGS="error",
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr


PROJECT = {
    "site_settings.py": """
        from tests.settings import *
        INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    """,
    "shop/__init__.py": "",
    "shop/workflows.py": """
        from django.contrib.auth.models import Group
        from durable_monty import register_function

        @register_function
        def count_groups_of_shop():
            return Group.objects.count()

        @register_function
        def charge():
            raise RuntimeError("the real one")
    """,
    "shop/tests.py": """
        from unittest import mock
        from django.contrib.auth.models import Group
        from django.test import TestCase, TransactionTestCase
        from durable_monty import InlineExecutor, OrchestratorService, Worker

        class Sees:
            def test_rows(self):
                Group.objects.create(name="a")
                service = OrchestratorService()
                execution = service.start_execution(
                    "await count_groups_of_shop()", ["count_groups_of_shop"]
                )
                Worker(service, InlineExecutor()).run(until_complete=True)
                self.assertEqual(service.get_result(execution), 1)

        class InTransaction(Sees, TestCase):
            def test_mock(self):
                service = OrchestratorService()
                execution = service.start_execution("await charge()", ["charge"])
                with mock.patch("shop.workflows.charge", return_value="paid"):
                    Worker(service, InlineExecutor()).run(until_complete=True)
                self.assertEqual(service.get_result(execution), "paid")

        class Outside(Sees, TransactionTestCase):
            pass
    """,
}

"""A project of somebody else, which uses only the public kit: with Django's own test runner, with
pytest-django, with pytest-xdist and in random order."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from textwrap import dedent

import pytest
from django.db import connection

from tests.documents import ROOT

SETTINGS = """
import os

import dj_database_url

SECRET_KEY = "of the outsider"
USE_TZ = True
DATABASES = {"default": dj_database_url.config(default="sqlite:///shop.sqlite3")}
if "TEST_NAME" in os.environ:
    DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_NAME"]}
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "durable_monty", "shop",
]
MIGRATION_MODULES = {"shop": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DURABLE_MONTY = {"EXECUTOR": "local"}
"""

MODELS = """
from django.db import models


class Payment(models.Model):
    order = models.IntegerField()
    key = models.CharField(max_length=100)
"""

WORKFLOWS = """
from durable_monty import Retry, current_call, register_function
from shop.models import Payment

REFUND = '''
from asyncio import sleep

if not await approve(order):
    receipt = None
else:
    await sleep(7 * 24 * 3600)
    receipt = await pay_back(order)
receipt
'''


@register_function(executor="manual")
def approve(order: int) -> bool:
    "May this customer have the money back?"


@register_function(retry=Retry(max_attempts=3, initial=60))
def pay_back(order):
    key = current_call().idempotency_key
    payment, _created = Payment.objects.get_or_create(order=order, key=key)
    return payment.pk
"""

DJANGO_TESTS = """
from datetime import UTC, datetime, timedelta

from django.test import TestCase, TransactionTestCase

from durable_monty import OrchestratorService
from durable_monty.testing import DurableMixin, play
from shop.models import Payment
from shop.workflows import REFUND

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


class Refunds(DurableMixin):
    def start(self):
        functions = ["approve", "pay_back"]
        return OrchestratorService().start_execution(REFUND, functions, {"order": 7})

    def test_an_approved_refund(self):
        self.durable.freeze(MARCH)
        started = self.start()
        self.durable.run_until_waiting()
        self.durable.answer("approve", True)
        self.durable.skip(days=6)
        self.assertFalse(Payment.objects.exists())
        self.durable.skip(days=1)
        self.assertEqual(self.durable.run_to_end(started), Payment.objects.get().pk)
        self.assertEqual(self.durable.now, MARCH + timedelta(days=7))

    def test_nothing_of_another_test_is_left(self):
        self.assertGreater(self.durable.now, datetime(2026, 4, 1, tzinfo=UTC))
        self.durable.fake("approve", returns=True)
        pay_back = self.durable.fake("pay_back", returns=0)
        self.assertEqual(self.durable.run_to_end(self.start()), 0)
        pay_back.assert_called_once_with(7)
        self.assertFalse(Payment.objects.exists())

    def test_it_pays_once_though_its_process_crashes(self):
        self.durable.fake("approve", returns=True)
        self.durable.crash_here("pay_back")
        self.durable.run_to_end(self.start())
        self.assertEqual(Payment.objects.count(), 1)

    def test_a_refusal(self):
        played = play(REFUND, {"order": 7}, {"approve": False}, functions=["approve", "pay_back"])
        self.assertIsNone(played.output)


class InATransaction(Refunds, TestCase):
    pass


class WithoutATransaction(Refunds, TransactionTestCase):
    pass
"""

PYTEST_TESTS = """
from datetime import UTC, datetime

import pytest

from durable_monty import OrchestratorService
from durable_monty.testing import play
from shop.models import Payment
from shop.workflows import REFUND

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def start():
    return OrchestratorService().start_execution(REFUND, ["approve", "pay_back"], {"order": 7})


def refund(durable):
    durable.freeze(MARCH)
    started = start()
    durable.run_until_waiting()
    durable.answer("approve", True)
    durable.crash_here("pay_back")
    assert durable.run_to_end(started) == Payment.objects.get().pk


def fake(durable):
    assert durable.now.year >= 2026 and durable.now > MARCH
    durable.fake("approve", returns=True)
    durable.fake("pay_back", side_effect=[ValueError("no"), 5])
    assert durable.run_to_end(start()) == 5
    assert not Payment.objects.exists()


@pytest.mark.parametrize("number", range(3))
def test_with_the_fixture_alone(durable, number):
    refund(durable)
    fake_of_another_test_is_gone(durable)


def fake_of_another_test_is_gone(durable):
    assert durable.fake("approve", returns=False).call_count == 0
    assert durable.run_to_end(start()) is None


@pytest.mark.parametrize("number", range(2))
def test_with_db(db, durable, number):
    fake(durable)


@pytest.mark.parametrize("number", range(2))
def test_with_transactional_db(transactional_db, durable, number):
    refund(durable)


@pytest.mark.django_db(transaction=True)
def test_with_a_mark(durable):
    fake(durable)


def test_without_a_database():
    assert play(REFUND, {"order": 7}, {"approve": True, "pay_back": 3}).output == 3


def test_the_clock_is_that_of_the_database_again(durable):
    assert abs(datetime.now(UTC) - durable.now).total_seconds() < 60
"""


@pytest.fixture
def project(tmp_path):
    """Returns a function that runs Python in the project and gives what it printed."""
    (tmp_path / "shop").mkdir()
    files = {
        "settings.py": SETTINGS,
        "shop/__init__.py": "",
        "shop/models.py": MODELS,
        "shop/workflows.py": WORKFLOWS,
        "shop/tests.py": DJANGO_TESTS,
        "shop/test_refunds.py": PYTEST_TESTS,
        "pytest.ini": (
            "[pytest]\nDJANGO_SETTINGS_MODULE = settings\nfilterwarnings = error\n"
            "python_files = tests.py test_*.py\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def run(*arguments, code=0, **environment):
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
        if connection.vendor != "sqlite":
            variables["DATABASE_URL"] = os.environ["DATABASE_URL"]
            variables["TEST_NAME"] = f"test_outsider_{os.getpid()}"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = tmp_path
    return run


def test_the_plugin_is_installed():
    plugins = {entry.name: entry.value for entry in entry_points(group="pytest11")}
    hint = "run `uv sync`: the installed metadata is older than pyproject.toml"
    assert plugins.get("durable_monty") == "durable_monty.testing.pytest_plugin", hint


@pytest.mark.parametrize("options", [[], ["--parallel=2"], ["--shuffle=7", "--reverse"]])
def test_djangos_own_runner(project, options):
    told = project(
        *("-W", "error", "-m", "django", "test", "shop.tests", *options),
        DJANGO_SETTINGS_MODULE="settings",
    )
    assert "Ran 8 tests" in told
    assert told.rstrip().endswith("OK") or "\nOK\n" in told


@pytest.mark.parametrize(
    "options", [["-p", "no:randomly"], ["-p", "randomly", "-n2"]], ids=["pytest", "xdist"]
)
def test_pytest_django(project, options):
    if "-n2" in options:
        options = ["-n2"]
    told = project("-m", "pytest", "-q", *options)
    assert "18 passed" in told


def test_a_test_that_never_crashed_fails(project):
    (project.folder / "shop" / "test_refunds.py").write_text(
        "def test_nothing(durable):\n    durable.crash_here('pay_back')\n"
    )
    told = project("-m", "pytest", "-q", "shop/test_refunds.py", code=1)
    assert "CrashNeverCame: crash_here() was told to crash 'pay_back', but the test" in told


def test_a_project_without_django_pays_nothing(project):
    (project.folder / "pytest.ini").unlink()
    (project.folder / "test_plain.py").write_text(
        dedent(
            """
            import sys


            def test_nothing_was_imported():
                assert not [name for name in sys.modules if name.split(".")[0] == "django"]
                ours = [name for name in sys.modules if name.startswith("durable_monty")]
                assert sorted(ours) == [
                    "durable_monty",
                    "durable_monty.testing",
                    "durable_monty.testing.pytest_plugin",
                ]
            """
        )
    )
    told = project("-m", "pytest", "-q", "-p", "no:django", "test_plain.py")
    assert "1 passed" in told


def test_without_settings_the_fixture_says_what_is_missing(project):
    (project.folder / "pytest.ini").unlink()
    (project.folder / "test_plain.py").write_text("def test_it(durable):\n    pass\n")
    told = project("-m", "pytest", "-q", "-p", "no:django", "test_plain.py", code=1)
    assert (
        "DjangoNotReady: durable needs Django's settings and apps. Run the test with manage.py "
        "test or with pytest-django, or call django.setup() first." in told
    )

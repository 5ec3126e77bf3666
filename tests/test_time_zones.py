"""No time zone of settings, server or session moves a time."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection, models

from durable_monty.models.moment import MomentField
from tests.processes import ROOT, database_url
from tests.support import run

pytestmark = pytest.mark.django_db(transaction=True)

# In New York this hour comes twice: 2026-11-01, 1:00 to 2:00.
FOLD = "2026-11-01T05:05:00+00:00"
MYSQL_SESSION = "SET time_zone = '+05:30'"


def test_every_time_of_ours_is_a_moment():
    times = [
        field
        for model in apps.get_app_config("durable_monty").get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.DateTimeField)
    ]
    assert len(times) > 20
    assert [str(field) for field in times if not isinstance(field, MomentField)] == []


@pytest.fixture
def server_zone():
    """As `ALTER ROLE` or `ALTER DATABASE` set it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            name = connection.ops.quote_name(connection.settings_dict["NAME"])
            cursor.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kolkata'")
        yield
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER DATABASE {name} RESET timezone")


@pytest.mark.parametrize(
    ("zone", "began"),
    [
        ("", ""),
        ("UTC", ""),
        ("America/New_York", ""),
        ("Asia/Kolkata", ""),
        ("America/New_York", FOLD),
    ],
    ids=["none", "UTC", "New York", "Kolkata", "New York, the hour that comes twice"],
)
def test_a_life_in_a_zone(server_zone, zone, began):
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", "from tests.zones.life import main; main()"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.zones.settings",
            "DATABASE_URL": database_url(),
            "DATABASE_ZONE": zone,
            "SESSION_COMMAND": MYSQL_SESSION if connection.vendor == "mysql" else "",
            "BEGAN": began,
            "DURABLE_MONTY_JSON": '{"POLL_INTERVAL": 0.01}',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout[-5:]) == (0, "done\n"), done.stderr


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="elsewhere no session has one")
@pytest.mark.parametrize("transactional", [False, True])
def test_a_function_that_sets_the_zone_of_its_session(register, transactional):
    def set_zone():
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'Asia/Kolkata'")

    register("set_zone", set_zone, transactional=transactional)
    execution = run("await set_zone()", ["set_zone"])
    assert execution.status == "completed"
    assert abs(execution.finished_at - datetime.now(UTC)) < timedelta(minutes=5)
    with connection.cursor() as cursor:
        cursor.execute("SHOW timezone")
        assert cursor.fetchone() == ("UTC",)

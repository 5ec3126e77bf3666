"""Our tables in a database of their own, as a router says. Each step is a process of its own."""

import os
import subprocess
import sys

import pytest
from django.db import connection

from tests.processes import ROOT, database_url
from tests.proof.databases import create, drop, renamed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def own_database(tmp_path):
    """The address of an empty one, of the kind that the tests run on."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/durable.sqlite3"
    else:
        name = f"{connection.settings_dict['NAME']}_own"
        create(name)
        with renamed(name):
            url = database_url()
        yield url
        drop(name)


@pytest.mark.parametrize("users", ["auth.User", "two_databases.User"])
def test_an_approval_outlives_its_author(tmp_path, own_database, users):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.two_databases.settings",
                "DATABASE_URL": own_database,
                "USERS_FILE": str(tmp_path / "users.sqlite3"),
                "AUTH_USER_MODEL": users,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("manage.py", "migrate", "--run-syncdb", "-v0")
    run("manage.py", "migrate", "--database=durable", "-v0")
    life = "from tests.two_databases.life import main; main()"
    assert run("manage.py", "shell", "-c", life).endswith("done\n")
    # The commands find the database by themselves.
    run("manage.py", "runworker", "--until-complete", "--executor=local")
    run("manage.py", "durable_doctor")
    run("manage.py", "durable_check")

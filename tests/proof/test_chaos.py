"""The quick form of `python -m tests.chaos`: real workers, while everything around them breaks."""

import json
import os
import subprocess
import sys

import pytest
from django.db import connection

from tests.chaos.clocks import can_step
from tests.postgresql import is_installed
from tests.processes import ROOT, database_url
from tests.proof.databases import create, drop, renamed

_QUICK = {"sqlite": "django_q", "postgresql": "local", "mysql": "django_q"}


@pytest.fixture
def where(transactional_db):
    """The options that give it a database of its own."""
    if connection.vendor == "mysql":
        name = f"{connection.settings_dict['NAME']}_chaos"
        create(name)
        with renamed(name):
            url = database_url()
        yield ["--database-url", url]
        drop(name)
    elif connection.vendor == "postgresql":
        if not is_installed():
            pytest.skip("the server that it would restart is not installed here")
        yield ["--postgresql"]
    else:
        yield []


@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_chaos(proof, where, executor):
    if not proof.long and executor != _QUICK[connection.vendor]:
        pytest.skip("only in the long form")
    workflows = proof.pick(quick=36, long=1000)
    done = subprocess.run(
        [
            *[sys.executable, "-m", "tests.chaos", "--json", *where],
            f"--executor={executor}",
            f"--workflows={workflows}",
            f"--seconds={proof.pick(quick=8, long=300)}",
            f"--seed={proof.seed}",
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (report["wrong"], done.returncode) == ([], 0), report
    assert report["workflows"] >= workflows
    met = {name.split()[0] for name in report["disturbances"]}
    assert {"kill", "SIGSTOP"} <= met
    assert ("clock" in met) is can_step()
    assert ("PostgreSQL" in met) is (connection.vendor == "postgresql")

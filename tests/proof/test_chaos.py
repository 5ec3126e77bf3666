"""The quick form of `python -m tests.chaos`: real workers, while everything around them breaks."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from django.db import connection

from tests.chaos.clocks import Clock, can_step
from tests.chaos.engines import ENGINES
from tests.chaos.workers import Worker
from tests.engines.brokers import require
from tests.postgresql import is_installed
from tests.processes import ROOT, database_url, until
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


@pytest.mark.parametrize("executor", ["local", "django_q", "rq", "celery"])
def test_chaos(proof, where, executor):
    if not proof.long and executor != _QUICK[connection.vendor]:
        pytest.skip("only in the long form")
    if executor in ENGINES:
        pytest.importorskip(executor)
        require(shutil.which("redis-server"), "redis-server")
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
    assert ("broker" in met) is (executor in ENGINES)


@pytest.fixture
def one_worker(transactional_db, tmp_path):
    clock = Clock(tmp_path / "clock", None)
    clock.environment = {
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
        "DATABASE_URL": database_url(),
    }
    worker = Worker(0, "local", tmp_path, clock)
    yield worker
    worker.process.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGABRT])
def test_a_worker_that_ends_by_itself_is_wrong(one_worker, number):
    """It is begun again, but that does not hide it. To chaos, which did not send these signals, it
    ended by itself."""
    one_worker.process.until_ready()
    first = one_worker.process
    first.signal(number)
    until(lambda: one_worker.revive() or one_worker.begun == 2, "the next one is begun")
    code = 0 if number == signal.SIGTERM else -number
    (wrong,) = one_worker.wrong
    assert wrong == f"a worker ended by itself, with exit code {code}:\n{first.tail()}"
    assert one_worker.not_started == 0


def test_a_worker_that_ended_by_itself_before_the_drain_is_wrong(one_worker):
    one_worker.process.until_ready()
    one_worker.process.signal(signal.SIGTERM)
    one_worker.process.popen.wait(30)
    one_worker.drain(30)
    assert [wrong.splitlines()[0] for wrong in one_worker.wrong] == [
        "a worker ended by itself, with exit code 0:"
    ]


def test_a_worker_that_was_killed_is_not_wrong(one_worker):
    one_worker.process.until_ready()
    one_worker.process.signal(signal.SIGKILL)
    until(lambda: one_worker.revive() or one_worker.begun == 2, "the next one is begun")
    assert (one_worker.wrong, one_worker.not_started) == ([], 0)

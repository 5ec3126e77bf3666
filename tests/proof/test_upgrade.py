"""Executions go on when Monty is upgraded, rolled back, and while both versions run.

An older Monty refuses the dumps of a newer one; then the journal is replayed. `--proof=long`: it
installs the older one, in an environment of its own.
"""

import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import version

import pytest
from django.db import connection

from durable_monty import OrchestratorService
from durable_monty.models import Call, Execution, WorkerProcess
from tests.doctor.reports import doctor
from tests.processes import ROOT, completed, result, runworker, start
from tests.support import seven_calls_output, work

pytestmark = pytest.mark.django_db(transaction=True)

OLD = "1.3"
NEW = version("pydantic-monty").rpartition(".")[0]
# What a dump holds and a replay must build again: objects, closures, chance, time, errors. The
# output does not depend on the order of answers.
SOURCE = """
import random
from asyncio import gather, sleep
from datetime import datetime

class Basket:
    def __init__(self):
        self.items = set()

    def put(self, item):
        self.items.add(item)
        return item

def counter(step):
    count = 0
    def up():
        nonlocal count
        count += step
        return count
    return up

async def fill(first):
    one, two, _none = await gather(echo(first), double(first), sleep(0.01))
    return basket.put(one) + basket.put(two) > first

basket, up, began = Basket(), counter(x), datetime.now()
chances = []
told = []
for stop in ("first", "second", "third"):
    chances.append(random.randrange(10**9))
    numbers = await gather(fill(1), fill(2), approve(stop))
    try:
        await fail("ValueError", stop)
    except ValueError as error:
        told.append((up(), str(error)))
    chances.append(await echo(random.randrange(10**9)))
[basket.items, up(), told, numbers, began <= datetime.now(), chances]
"""
FUNCTIONS = ["echo", "double", "approve", "fail"]
STOPS = ["first", "second", "third"]


@pytest.fixture(scope="session")
def pythons(request, tmp_path_factory):
    """Those of the two environments, by version of Monty."""
    if request.config.getoption("--proof") != "long":
        pytest.skip("only in the long form: it installs an older Monty")
    directory = tmp_path_factory.mktemp("old")
    (directory / "overrides").write_text(f"pydantic-monty=={OLD}.*\n")
    python = directory / "environment" / "bin" / "python"
    extra = "mysql" if connection.vendor == "mysql" else "postgresql"
    uv("venv", f"--python={sys.executable}", directory / "environment")
    uv(
        *("pip", "install", f"--python={python}", "--overrides", directory / "overrides"),
        *("--group", "example", "--editable", f".[{extra}]"),
    )
    return {OLD: python, NEW: sys.executable}


def uv(*arguments):
    subprocess.run(["uv", "--quiet", *arguments], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "versions",
    [(OLD, NEW, NEW, NEW), (OLD, NEW, OLD, NEW), (NEW, OLD, OLD, NEW), (NEW, NEW, NEW, OLD)],
    ids="-".join,
)
def test_executions_in_flight(tmp_path, pythons, versions):
    service = OrchestratorService()
    ids = [service.start_execution(SOURCE, FUNCTIONS, {"x": x}) for x in range(3)]
    for version_, stop in zip(versions, [*STOPS, None], strict=True):
        with runworker(tmp_path, "--executor=local", python=pythons[version_]) as process:
            for execution_id in ids:
                process.until(partial(has_come_to, execution_id, stop), stop or "the end")
            process.signal(signal.SIGTERM)
            process.ends(0)
        if stop is not None:
            answer(ids, stop)
    used = WorkerProcess.objects.order_by("pk").values_list("sandbox_version", flat=True)
    assert tuple(name.rpartition(".")[0] for name in used) == versions
    for execution_id in ids:
        assert result(execution_id) == without_an_upgrade(execution_id)
    # No function was called for a replay.
    assert set(Call.objects.filter(kind="function").values_list("attempt", flat=True)) == {0, 1}
    assert doctor().lines == ["Nothing wrong."]


def has_come_to(execution_id, stop):
    if stop is None:
        return completed(execution_id)
    calls = Call.objects.filter(execution=execution_id)
    waits = list(calls.open().values_list("function", "args")) == [("approve", f'["{stop}"]')]
    return waits and not calls.undelivered().exists()


def answer(ids, stop):
    for call in Call.objects.open().filter(function="approve", execution__in=ids):
        OrchestratorService().complete_call(call.execution_id, call.call_id, f"{stop}: yes")


def without_an_upgrade(execution_id):
    """What the same run gives in this process, from its start to its end."""
    execution = Execution.objects.select_related("program").get(pk=execution_id)
    control = Execution.objects.create(
        program=execution.program,
        inputs=execution.inputs,
        seed=execution.seed,
        created_at=execution.created_at,
        due_at=execution.created_at,
    )
    for stop in STOPS:
        while not has_come_to(control.pk, stop):
            work()
        answer([control.pk], stop)
    while not completed(control.pk):
        work()
    return result(control.pk)


def test_both_versions_at_once(tmp_path, pythons):
    ids = [start(x) for x in range(40)]
    with (
        runworker(tmp_path, "--executor=local", python=pythons[OLD]) as old,
        runworker(tmp_path, "--executor=local", python=pythons[NEW]) as new,
    ):
        later = []

        def both_have_taken_some():
            later.append(start(len(later)))
            worked = WorkerProcess.objects.exclude(executions=None)
            return len(set(versions_of(worked))) == 2

        old.until(both_have_taken_some, "both versions have taken some")
        old.until(lambda: all(map(completed, [*ids, *later])), "all are completed")
        for process in (old, new):
            process.signal(signal.SIGTERM)
            process.ends(0)
    assert [result(execution_id) for execution_id in [*ids, *later]] == [
        seven_calls_output(x) for x in [*range(40), *range(len(later))]
    ]
    workers = WorkerProcess.objects.all()
    assert {name.rpartition(".")[0] for name in versions_of(workers)} == {OLD, NEW}
    assert set(versions_of(workers.exclude(executions=None))) == set(versions_of(workers))
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}
    assert doctor().lines == ["Nothing wrong."]


def versions_of(workers):
    return list(workers.values_list("sandbox_version", flat=True))

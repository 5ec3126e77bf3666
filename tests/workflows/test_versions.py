"""Versions of workflows: made once, numbered without gaps or doubles, and never of a start that
was rolled back."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction

from durable_monty import WORKFLOW_REGISTRY
from durable_monty.models import Execution, Program, WorkflowVersion
from tests.processes import ROOT
from tests.support import work
from tests.workflows.conftest import REFUND

pytestmark = pytest.mark.django_db(transaction=True)

OTHER = REFUND.replace("RATE = 3", "RATE = 4")

SCRIPT = """
import os, signal, sys
import django

django.setup()
from django.db import transaction
from shop_workflows import refund
from durable_monty.models import WorkflowVersion

{begin}
for number in range({times}):
    print(refund.start(number), flush=True)
{end}
"""


def run(directory, source, *, times=1, begin="", end=""):
    """Starts a process that starts workflows of its own `shop_workflows`."""
    directory.mkdir(exist_ok=True)
    (directory / "shop_workflows.py").write_text(source)
    database = connection.settings_dict
    url = f"sqlite:///{database['NAME']}"
    if connection.vendor != "sqlite":
        place = f"{database['HOST']}:{database['PORT']}" if database["PORT"] else database["HOST"]
        user = ":".join(filter(None, [database["USER"], database["PASSWORD"]]))
        url = f"{'postgres' if connection.vendor == 'postgresql' else 'mysql'}://{user}@{place}/"
        url += database["NAME"]
    env = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
    }
    script = SCRIPT.format(begin=begin, end=end, times=times)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE,
    )  # fmt: skip


def ended(process, code=0):
    out, _ = process.communicate("\n", timeout=60)
    assert process.returncode == code
    return out.split()


def numbers():
    versions = WorkflowVersion.objects.order_by("number")
    return list(versions.filter(name="refund").values_list("number", flat=True))


def test_code_that_moved_is_no_new_version(load):
    first = load().refund.start(1)
    second = load(REFUND.replace("RATE", "\n\n# A rate.\nRATE", 1)).refund.start(1)
    work()
    versions, programs = zip(
        *Execution.objects.order_by("pk").values_list("version", "program"), strict=True
    )
    assert versions[0] == versions[1]
    # Its lines are those of the file as it is now.
    assert programs[0] != programs[1]
    assert {first, second} == {
        str(each.pk) for each in Execution.objects.filter(output='"6 for broken"')
    }


def test_code_that_changed_is_a_new_version_and_back_the_old_one(load):
    for source in (REFUND, OTHER, REFUND.replace("RATE = 3", "RATE = 5"), REFUND):
        load(source).refund.start(1)
    found = Execution.objects.order_by("pk").values_list("version__number", flat=True)
    assert list(found) == [1, 2, 3, 1]


def test_names_are_numbered_by_themselves(load):
    load().refund.start(1)
    other = load(REFUND.replace("def refund", "def repay"), "other_workflows").repay
    assert Execution.objects.get(pk=other.start(1)).version.number == 1


def test_rolled_back_version_is_not_used(load):
    refund = load().refund
    for _ in range(3):
        with transaction.atomic():
            refund.start(1)
            transaction.set_rollback(True)
    execution = Execution.objects.get(pk=refund.start(1))
    assert execution.version.number == 1
    work()
    assert Execution.objects.get(pk=execution.pk).status == "completed"


def test_version_of_a_savepoint_that_was_rolled_back(load):
    refund = load().refund
    with transaction.atomic():
        with transaction.atomic():
            refund.start(1)
            transaction.set_rollback(True)
        kept = refund.start(1)
    assert Execution.objects.get().pk == Execution.objects.get(pk=kept).pk
    assert numbers() == [1]


def test_many_threads_start_new_versions_at_once(load):
    workflows = []
    for rate in range(4):
        workflow = load(REFUND.replace("RATE = 3", f"RATE = {rate}")).refund
        assert workflow.closure  # while this is the file
        workflows.append(workflow)
    assert len({workflow.closure.digest for workflow in workflows}) == 4
    begin = threading.Barrier(8)

    def start(workflow):
        begin.wait()
        try:
            return workflow.start(1)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        started = list(threads.map(start, workflows * 2))
    assert len(set(started)) == 8
    assert numbers() == [1, 2, 3, 4]
    by_version = Execution.objects.values_list("version__number", "version__digest")
    assert len(set(by_version)) == 4


def test_two_processes_of_a_rolling_deploy(tmp_path):
    before, after = (
        run(tmp_path / name, source, times=20)
        for name, source in (("old", REFUND), ("new", OTHER))
    )
    old, new = ended(before), ended(after)
    assert numbers() == [1, 2]
    digests = {
        which: set(Execution.objects.filter(pk__in=ids).values_list("version__digest", flat=True))
        for which, ids in (("old", old), ("new", new))
    }
    assert [len(each) for each in digests.values()] == [1, 1]
    assert digests["old"] != digests["new"]
    work()
    outputs = {
        which: set(Execution.objects.filter(pk__in=ids).values_list("output", flat=True))
        for which, ids in (("old", old), ("new", new))
    }
    # 3 * number + the rate of its own release.
    assert outputs["old"] == {f'"{3 * number + 3} for broken"' for number in range(20)}
    assert outputs["new"] == {f'"{3 * number + 4} for broken"' for number in range(20)}


def test_killed_while_it_makes_a_version(tmp_path, load):
    with_lock = "context = transaction.atomic(); context.__enter__()"
    killed = run(tmp_path / "killed", REFUND, begin=with_lock, end="sys.stdin.readline()")
    assert killed.stdout.readline()  # it has written its version, and not committed it
    os.kill(killed.pid, signal.SIGKILL)
    ended(killed, -signal.SIGKILL)
    assert Execution.objects.get(pk=load().refund.start(1)).version.number == 1
    assert numbers() == [1]
    assert Execution.objects.count() == 1


def test_renamed_while_in_flight(load, service):
    execution_id = load().refund.start(7)
    service.process_execution(execution_id)
    renamed = load(REFUND.replace("def refund", "def repay")).repay
    work()
    execution = Execution.objects.select_related("version").get(pk=execution_id)
    assert (execution.status, execution.name) == ("completed", "refund")
    after = Execution.objects.get(pk=renamed.start(7))
    assert str(after.version) == "repay v1"
    WORKFLOW_REGISTRY.remove("refund")
    kept = load(
        REFUND.replace("@workflow\n", '@workflow(name="refund")\n').replace(
            "def refund", "def repay"
        )
    )
    assert kept.repay.name == "refund"
    # The name of the function is a part of the code.
    assert Execution.objects.get(pk=kept.repay.start(7)).version.number == 2


def test_start_that_loses_the_race_for_a_version(load, monkeypatch):
    """Another process makes the version between our look and our INSERT."""
    refund = load().refund
    versions, made = type(WorkflowVersion.objects.all()), []
    read = versions.aggregate

    def aggregate(self, **values):
        found = read(self, **values)
        if not made:
            digest, program = refund.closure.digest, Program.objects.get()
            for number, each in enumerate((digest, "0" * 64), 1):
                row = {"name": "refund", "digest": each, "number": number, "program": program}
                made.append(WorkflowVersion.objects.create(**row, file=""))
        return found

    monkeypatch.setattr(versions, "aggregate", aggregate)
    execution = Execution.objects.get(pk=refund.start(1))
    assert execution.version == made[0]
    assert numbers() == [1, 2]

import logging

import pytest

from durable_monty import OrchestratorService
from durable_monty.context import running
from durable_monty.logging import CallFilter
from tests.documents import DOCS, of_language
from tests.processes import manage
from tests.support import started_call


@pytest.fixture
def record():
    record = logging.makeLogRecord({"msg": "hello"})
    assert CallFilter().filter(record)
    return record


def test_outside_of_a_function(record):
    assert (record.execution_id, record.call_id, record.function) == ("-", "-", "-")


@pytest.mark.django_db(transaction=True)
def test_facts_that_a_record_has_are_kept():
    call = started_call()
    record = logging.makeLogRecord({"msg": "hello", "call_id": 7})
    with running(call, using="default"):
        CallFilter().filter(record)
    assert (record.execution_id, record.call_id, record.function) == (
        str(call.execution_id),
        7,
        "add",
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_the_settings_of_the_documentation(tmp_path, executor):
    """A real worker: each function's own records carry its call."""
    (block,) = of_language(DOCS / "how-to" / "monitor.md", "python")
    settings = "from tests.worker_settings import *\n\n" + block.text
    (tmp_path / "page_settings.py").write_text(settings)
    ids = [
        OrchestratorService().start_execution("for n in range(2): await log(n)", ["log"])
        for _ in range(2)
    ]
    with manage(
        tmp_path,
        "runworker",
        "--until-complete",
        f"--executor={executor}",
        DJANGO_SETTINGS_MODULE="page_settings",
        PYTHONPATH=str(tmp_path),
    ) as process:
        process.ends(0)
    lines = [line for line in process.log.read_text().splitlines() if " tests.app " in line]
    assert sorted(lines) == sorted(
        f"INFO tests.app [{execution_id} {n}] packed {n}" for execution_id in ids for n in range(2)
    )
    assert "INFO durable_monty [- -] worker started" in process.log.read_text()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_lines_of_django_q_about_our_calls_are_debug(tmp_path, level):
    """In a cluster that runs tasks of the project, too, whose lines stay."""
    task = "Processed 'tests.app.workflows.echo'"
    service = OrchestratorService()
    for _ in range(3):
        service.start_execution("await add(1, 2)", ["add"])
    (tmp_path / "level_settings.py").write_text(
        "from tests.worker_settings import *\n"
        f"LOGGING['loggers']['django-q']['level'] = {level!r}\n"
    )
    shared = "durable_monty.executors.django_q.SharedBroker"
    environment = {"DJANGO_SETTINGS_MODULE": "level_settings", "PYTHONPATH": str(tmp_path)}
    with manage(tmp_path, "runworker", queue={"broker_class": shared}, **environment) as process:
        from django_q.tasks import async_task

        async_task("tests.app.workflows.echo", 1)
        process.until_logged(task)
        process.until(lambda: not service.poll(), "all are completed")
    lines = process.log.read_text().splitlines()
    ours = [line for line in lines if "run_task" in line]
    assert all(" DEBUG " in line for line in ours)
    assert bool(ours) == (level == "DEBUG")
    assert [line.split()[3] for line in lines if task in line] == ["INFO"]

"""Executions of workflows in files: all that is done with an execution is done with these."""

import json

import pytest
from django.core.management import call_command

from durable_monty.exceptions import KeyConflict, ReplayMismatch
from durable_monty.models import Execution, Program, Snapshot
from durable_monty.reads.export import export_json
from durable_monty.reads.turns import view_turn
from tests.support import advance, work
from tests.workflows.conftest import REFUND

pytestmark = pytest.mark.django_db

REVIEW = '''
from asyncio import gather

from durable_monty import workflow
from tests.app.workflows import add as plus, approve


@workflow
async def review(number: int, order: dict | None = None) -> str:
    """Asks a person."""
    total = await plus(number, 1)
    for line in (order or {}).get("lines", []):
        total = await plus(total, line)
    print("waits")
    said = await approve(total)
    return f"{total}: {said}"
'''


@pytest.fixture
def waiting(load, service):
    """An execution that waits for a person."""
    review = load(REVIEW).review
    execution_id = review.options(label="first").start(7, order={"lines": [2, 3]})
    work()
    return execution_id


def get(execution_id):
    return Execution.objects.select_related("program", "version").get(pk=execution_id)


def finish(service, execution_id, said=True):
    (call,) = service.get_pending_calls(execution_id)
    service.complete_call(execution_id, call["call_id"], said)
    work()
    return service.get_result(execution_id)


def test_snapshot_has_a_dictionary_with_the_shape_of_the_inputs(waiting, service):
    execution = get(waiting)
    assert execution.program.dictionary
    work()
    snapshot = Snapshot.objects.get(pk=waiting)
    # The first one is whole; the next ones are differences.
    second = service.restart_execution(waiting)
    work()
    assert Snapshot.objects.get(pk=second).size
    assert len(Snapshot.objects.get(pk=second).data) < len(snapshot.data) / 3
    assert finish(service, second) == "13: True"
    assert finish(service, waiting) == "13: True"


def test_from_the_journal_alone(waiting, service):
    Snapshot.objects.all().delete()
    assert finish(service, waiting) == "13: True"


def test_turn_can_be_viewed(waiting):
    execution = get(waiting)
    view = view_turn(execution, execution.turn, "default")
    assert (view.why_not, view.printed) == ("", "waits\n")
    source = execution.program.source.encode()
    assert source[view.position.start : view.position.end] == b"await approve(total)"
    # The line is that of the file.
    assert source[: view.position.start].count(b"\n") + 1 == 15


def test_error_has_the_lines_of_the_file(load, service):
    source = REVIEW.replace("    return f", "    1 / 0\n    return f")
    execution_id = load(source).review.start(7)
    work()
    finish_error = service.poll(execution_id)
    (call,) = finish_error["pending_calls"]
    service.complete_call(execution_id, call["call_id"], "yes")
    work()
    assert "line 16, in review" in get(execution_id).error_traceback


def test_restart_and_fork_keep_the_version(waiting, service):
    origin = get(waiting)
    for made in (
        service.restart_execution(waiting),
        service.fork_execution(waiting, 1),
        service.fork_execution(waiting, 1, code=origin.program.source),
        service.fork_execution(waiting, 1, external_functions=["add", "approve"]),
    ):
        copy = get(made)
        assert (copy.program, copy.version) == (origin.program, origin.version)
        assert (copy.name, copy.label) == ("review", "first")
        work()
        assert finish(service, made) == "13: True"


def test_fork_with_edited_source_is_no_version(waiting, service):
    origin = get(waiting)
    edited = origin.program.source.replace('f"{total}: {said}"', 'f"{said}: {total}"')
    made = get(service.fork_execution(waiting, origin.turn, code=edited))
    assert (made.version, made.program.entry, made.name) == (None, "review", "review")
    assert made.program.functions == origin.program.functions
    work()
    assert finish(service, made.pk) == "True: 13"


def test_fork_with_another_source_has_variables(waiting, service):
    made = get(service.fork_execution(waiting, 0, code="await plus(number, 1)\norder['lines']"))
    assert (made.version, made.program.entry) == (None, "")
    work()
    assert service.get_result(str(made.pk)) == [2, 3]


def test_fork_with_another_name_is_no_version(waiting, service):
    made = get(service.fork_execution(waiting, 0, name="other"))
    assert (made.version, made.name) == (None, "other")


def test_fork_that_does_something_else(waiting, service):
    edited = get(waiting).program.source.replace("plus(number, 1)", "plus(number, 2)")
    with pytest.raises(ReplayMismatch):
        service.fork_execution(waiting, 2, code=edited)


def test_fork_keys_know_the_entry(waiting, service):
    first = service.fork_execution(waiting, 0, key="k")
    assert service.fork_execution(waiting, 0, key="k") == first
    with pytest.raises(KeyConflict):
        service.fork_execution(waiting, 0, key="k", code="await plus(number, 1)")


def test_retry(load, service):
    source = REFUND.replace("double as twice", "fail")
    source = source.replace("await twice(number)", 'await fail("ValueError", "oh")')
    refund = load(source).refund
    execution_id = refund.start(7)
    work()
    failed = get(execution_id)
    assert (failed.status, failed.error_type) == ("failed", "ValueError")
    again = get(service.retry_execution(execution_id))
    assert (again.version, again.program) == (failed.version, failed.program)


def test_export(waiting):
    (row,) = json.loads("".join(export_json([waiting], "default")))["executions"]
    assert (row["name"], row["label"], row["version"]) == ("review", "first", 1)
    assert row["inputs"] == {"number": 7, "order": {"lines": [2, 3]}}
    assert row["program"]["entry"] == "review"
    assert row["program"]["functions"] == {"plus": "add", "approve": "approve"}


def test_durable_check_knows_the_inputs(waiting, capsys):
    call_command("durable_check", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["checked"], found["ok"], found["programs"]) == (1, True, [])


def test_durable_check_names_the_version(waiting, capsys, monkeypatch):
    program = Program.objects.get()
    broken = program.functions_json.replace('"add"', '"gone"')
    Program.objects.update(functions_json=broken)
    with pytest.raises(SystemExit):
        call_command("durable_check")
    out = capsys.readouterr().out
    assert f"Program {program.sha256[:12]} 'review' version 1, 1 unfinished executions" in out


def test_one_turn_at_a_time(load, service):
    execution_id = load(REVIEW).review.start(number=1)
    assert advance(execution_id) == "waiting"
    work()
    assert finish(service, execution_id, "no") == "2: no"

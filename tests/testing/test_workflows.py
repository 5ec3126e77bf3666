"""The kit with workflows in files."""

import json
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from durable_monty import WORKFLOW_REGISTRY, exceptions
from durable_monty.testing import play, replay
from tests.documents import ROOT
from tests.testing.flows import changed, refund

ANSWERS = {"add": 10, "twice": 20, "approve": True}


@pytest.fixture
def recorded(durable):
    """The fixture of a finished execution."""
    durable.fake("approve", returns=True)
    execution_id = refund.start(7)
    assert durable.run_to_end(execution_id) == "25 for broken"
    out = StringIO()
    call_command("durable", "export", execution_id, "--fixture", stdout=out)
    return json.loads(out.getvalue())


def test_a_workflow_is_played():
    played = play(refund, {"number": 7, "reason": "late"}, ANSWERS)
    assert played.output == "33 for late"
    assert [str(call) for call in played.calls] == ["add(7, 1)", "twice(7)", "approve('late')"]
    assert played.now - played.calls[0].at == timedelta(hours=1)


def test_answers_by_the_name_in_the_registry():
    assert play(refund, {"number": 7}, {**ANSWERS, "double": 0} | {"add": 1}).output


def test_its_functions_run_when_they_are_asked_for():
    assert play(refund, {"number": 7}, {"approve": False}, run=True).output == "25 for broken"


def test_the_lines_of_its_file_are_in_the_traceback():
    played = play(refund, {"number": 7}, ANSWERS | {"add": ValueError("no")})
    lines = Path(refund.closure.path).read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if "await gather(add(number, 1)" in line)
    assert f"line {number}, in refund" in played.error.traceback


def test_coverage_sees_its_lines_in_plain_python(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio\nfrom unittest import mock\nimport django\ndjango.setup()\n"
        "from tests.testing import flows\n"
        "with mock.patch.object(flows, 'approve', return_value=False):\n"
        "    assert asyncio.run(flows.refund(7)) == '25 for broken'\n"
    )
    data = f"--data-file={tmp_path}/coverage"
    environment = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    for command in (
        ["run", data, "--rcfile=", "--include=*/flows.py", script],
        ["json", data, "--rcfile=", "-q", "-o", tmp_path / "lines.json"],
    ):
        subprocess.run([sys.executable, "-m", "coverage", *command], env=environment, check=True)
    (file,) = json.loads((tmp_path / "lines.json").read_text())["files"].values()
    lines = Path(refund.closure.path).read_text().splitlines()
    first = next(n for n, line in enumerate(lines, 1) if "await gather(add(number, 1)" in line)
    assert {first, first + 1, first + 3} <= {*file["executed_lines"]}
    assert first + 2 in file["missing_lines"]  # nobody approved, so it did not sleep


def test_inputs_must_fit_its_parameters():
    with pytest.raises(exceptions.InvalidInputs) as raised:
        play(refund, {"numer": 7}, ANSWERS)
    assert "kit_refund(number, *, reason='broken') cannot be started so" in str(raised.value)
    with pytest.raises(exceptions.InvalidInputs) as raised:
        play(refund, [7], ANSWERS)
    assert str(raised.value) == "inputs must be a dict of variable names to values, not list."


def test_its_functions_cannot_be_given():
    with pytest.raises(exceptions.NotPlayable) as raised:
        play(refund, {"number": 7}, ANSWERS, functions=["add"])
    assert str(raised.value).endswith(
        "cannot be played: its functions are those that it names: leave out functions=."
    )


def test_a_function_that_is_no_workflow():
    with pytest.raises(exceptions.NotPlayable) as raised:
        play(refund.func, {"number": 7}, ANSWERS)
    assert str(raised.value).endswith(" cannot be played: decorate it with @workflow.")


def test_a_recorded_run_goes_on_with_the_workflow_of_its_name(recorded):
    replay(recorded)
    replay(recorded, refund)


def test_a_workflow_that_has_changed(recorded, monkeypatch):
    with pytest.raises(exceptions.FixtureDiffers) as raised:
        replay(recorded, changed)
    assert "turn 1, call 0: recorded add [7,1] {}, replayed add [7,2] {}." in str(raised.value)
    monkeypatch.setitem(WORKFLOW_REGISTRY._workflows, "kit_refund", changed)
    with pytest.raises(exceptions.FixtureDiffers):
        replay(recorded)


def test_a_workflow_that_is_gone(recorded, monkeypatch):
    monkeypatch.delitem(WORKFLOW_REGISTRY._workflows, "kit_refund")
    with pytest.raises(exceptions.FixtureDiffers) as raised:
        replay(recorded)
    assert str(raised.value).endswith(
        "The workflow 'kit_refund' is not known any more: pass the one in its place."
    )
    replay(recorded, refund)

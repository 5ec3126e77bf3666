"""Modules as people write them give exactly the expected closure, or exactly these complaints."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from durable_monty.exceptions import WrongWorkflow
from durable_monty.workflows.closure import closure_of
from tests.workflows.support import output_of, run_plain

MODULES = Path(__file__).parent / "modules"
GOOD = sorted(path.stem for path in (MODULES / "good").glob("*.expected"))
BAD = sorted(path.stem for path in (MODULES / "bad").glob("*.expected"))


def workflow_of(kind, name, function):
    return getattr(import_module(f"tests.workflows.modules.{kind}.{name}"), function)


def expected_of(kind, name):
    """Returns the head of an expected file, and its numbered lines."""
    text = (MODULES / kind / f"{name}.expected").read_text()
    head = dict(re.findall(r"^(\w+): ?(.*)$", text, re.MULTILINE))
    return head, text


def numbered(source):
    """Returns the lines of a closure that are not blank, with their numbers."""
    lines = source.split("\n")
    return "".join(f"{number}|{line}\n" for number, line in enumerate(lines, 1) if line)


def shown(closure, call, output):
    functions = " ".join(f"{name}={target}" for name, target in closure.functions.items())
    return (
        f"run: {call}\nfunctions: {functions}\noutput: {json.dumps(output, ensure_ascii=False)}\n"
        f"{numbered(closure.source)}"
    )


@pytest.mark.parametrize("name", GOOD)
def test_good_module(name):
    head, text = expected_of("good", name)
    function, _, arguments = head["run"].partition("(")
    closure = closure_of(workflow_of("good", name, function))
    inputs = eval(f"dict({arguments}")
    output = output_of(closure, inputs)
    assert shown(closure, head["run"], output) == text
    assert run_plain(closure, inputs) == output
    assert closure.entry == function
    assert closure.file == f"tests/workflows/modules/good/{name}.py"
    assert closure.path == str(MODULES / "good" / f"{name}.py")


@pytest.mark.parametrize("name", BAD)
def test_bad_module(name):
    head, text = expected_of("bad", name)
    with pytest.raises(WrongWorkflow) as info:
        closure_of(workflow_of("bad", name, head["run"]))
    file = f"tests/workflows/modules/bad/{name}.py"
    shown = str(info.value).replace(f"{file}:", "")
    assert f"run: {head['run']}\n{shown}\n" == text
    assert {each.file for each in info.value.complaints} == {file}

"""Functions that cannot be workflows where or how they are defined."""

from __future__ import annotations

import importlib
import py_compile
import subprocess
import sys
import textwrap
import zipfile
from functools import partial

import pytest

from durable_monty.exceptions import WrongWorkflow
from durable_monty.workflows.closure import closure_of
from tests.workflows.modules.decorator import workflow

TOP_LEVEL = "Write it as an async def at the top level of a module."
HEAD = "from tests.workflows.modules.decorator import workflow\n"


def said_of(func):
    with pytest.raises(WrongWorkflow) as info:
        closure_of(func)
    return str(info.value)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Writes a module and imports it; `load.path` is its file."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "written_flows.py"

    def of(source):
        sys.modules.pop("written_flows", None)
        importlib.invalidate_caches()
        path.write_text(textwrap.dedent(source))
        return importlib.import_module("written_flows")

    of.path = path
    yield of
    sys.modules.pop("written_flows", None)


class Flows:
    @workflow
    async def method(self):
        pass


def make():
    @workflow
    async def inner():
        pass

    return inner


function = workflow(lambda number: number)


def test_nested_function():
    line = make().__code__.co_firstlineno
    assert said_of(make()) == (
        f"inner() cannot be a workflow.\ntests/workflows/test_entry.py:{line}:1: make.<locals>."
        "inner is defined inside a function, or another decorator put it in the place of the "
        f"workflow. {TOP_LEVEL}"
    )


def test_method():
    line = Flows.method.__code__.co_firstlineno
    assert said_of(Flows.method) == (
        f"method() cannot be a workflow.\ntests/workflows/test_entry.py:{line}:1: Flows.method is "
        f"a method. {TOP_LEVEL}"
    )


def test_lambda():
    line = function.__code__.co_firstlineno
    assert said_of(function) == (
        f"<lambda>() cannot be a workflow.\ntests/workflows/test_entry.py:{line}:1: A lambda "
        f"cannot be a workflow. {TOP_LEVEL}"
    )


@pytest.mark.parametrize(
    ("value", "name", "where", "kind"),
    [
        (partial(make), "partial", "functools", "partial"),
        (Flows, "Flows", "tests.workflows.test_entry", "type"),
        (len, "len", "builtins", "builtin_function_or_method"),
        (3, "int", "?", "int"),
    ],
)
def test_other_objects(value, name, where, kind):
    assert said_of(value) == (
        f"{name}() cannot be a workflow.\n{where}:1:1: @workflow decorates an async def, not an "
        f"object of type {kind}."
    )


def test_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        HEAD + "from durable_monty.workflows.closure import closure_of\n@workflow\n"
        "async def flow(): pass\nclosure_of(flow)\n"
    )
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ".", "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )  # fmt: skip
    assert run.stderr.splitlines()[-2:] == [
        "durable_monty.exceptions.WrongWorkflow: flow() cannot be a workflow.",
        "script.py:3:1: flow() is defined in the script that runs, which workers cannot import. "
        "Move it into a module, such as the workflows.py of an app.",
    ]


def test_no_source():
    namespace = {"__name__": "shell"}
    exec(compile("async def flow(): pass", "<shell>", "exec"), namespace)
    assert said_of(namespace["flow"]) == (
        "flow() cannot be a workflow.\n<shell>:1:1: The source of flow() cannot be read from "
        "<shell>. A workflow needs its .py file, where it starts and where it runs."
    )


def test_compiled_file_alone(load):
    module = load(HEAD + "@workflow\nasync def flow(): pass\n")
    py_compile.compile(str(load.path), cfile=str(load.path.with_suffix(".pyc")))
    load.path.unlink()
    sys.modules.pop("written_flows")
    importlib.invalidate_caches()
    module = importlib.import_module("written_flows")
    assert module.__file__.endswith(".pyc")
    assert said_of(module.flow) == (
        "flow() cannot be a workflow.\nwritten_flows.py:2:1: The source of flow() cannot be read "
        f"from {load.path}. A workflow needs its .py file, where it starts and where it runs."
    )


def test_zipped_module(tmp_path, monkeypatch):
    archive = tmp_path / "flows.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_flows.py", HEAD + "A = 1\n@workflow\nasync def flow(): return A\n")
    monkeypatch.syspath_prepend(archive)
    closure = closure_of(importlib.import_module("zipped_flows").flow)
    assert closure.source == "\nA = 1\n\nasync def flow(): return A\nawait flow(**_inputs)"
    assert closure.file == "zipped_flows.py"


SOURCE = """\
from tests.workflows.modules.decorator import workflow

LIMIT = 3

def helper(x):
    return x * 2

@workflow
async def flow(number):
    return helper(number) + 1000
"""
CHANGED = (
    "is another function here than the one that runs: the file changed after the process imported "
    "it. Restart the process."
)


UNREADABLE = (
    "8:1: The source of flow() cannot be read from {path}. A workflow needs its .py file, where "
    "it starts and where it runs."
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("\n" + SOURCE, f"8:1: flow() {CHANGED}"),
        (SOURCE.replace("async def flow", "async def other"), f"8:1: flow() {CHANGED}"),
        (SOURCE.replace("1000", "2000"), f"8:1: flow() {CHANGED}"),
        (SOURCE.replace("number", "amount"), f"8:1: flow() {CHANGED}"),
        (SOURCE.replace("return x * 2", "return x.y"), f"10:12: helper() {CHANGED}"),
        (SOURCE + "(", UNREADABLE),
    ],
)
def test_file_that_changed_after_its_import(load, changed, said):
    module = load(SOURCE)
    load.path.write_text(changed)
    assert said_of(module.flow) == (
        f"flow() cannot be a workflow.\nwritten_flows.py:{said.format(path=load.path)}"
    )


def test_file_that_changed_elsewhere(load):
    module = load(SOURCE)
    load.path.write_text(SOURCE + "\n\ndef later(): pass\n")
    assert "LIMIT" not in closure_of(module.flow).source


def test_all_complaints_have_their_place():
    module = importlib.import_module("tests.workflows.modules.bad.undefined")
    with pytest.raises(WrongWorkflow) as info:
        closure_of(module.flow)
    first = info.value.complaints[0]
    assert (first.file, first.line, first.column) == (
        "tests/workflows/modules/bad/undefined.py", 5, 12,
    )  # fmt: skip
    assert info.value.name == "flow"

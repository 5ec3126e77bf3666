"""What mypy and pyright say of a project's functions and workflows."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = """
from dataclasses import dataclass

from durable_monty import register_function


@dataclass
class Receipt:
    number: int


@register_function
def charge(number: int, cents: int) -> Receipt:
    return Receipt(number)


@register_function(executor="manual", schedule_to_close=60)
async def approve(number: int) -> bool:
    raise NotImplementedError


def view(number: int) -> int:
    return charge(number, 100).number
"""
WORKFLOWS = """
from durable_monty import awaitable, workflow

from project import functions

charge = awaitable(functions.charge)
approve = awaitable(functions.approve)


@workflow
async def right(number: int, *, note: str = "") -> int:
    if not await approve(number):
        return 0
    receipt = await charge(number, cents=100)
    return receipt.number


async def wrong(number: int) -> int:
    await charge("7", 100)
    await charge(number)
    await approve(number, 2)
    receipt: str = await charge(number, 100)
    charge(number, 100).number
    await functions.charge(number, 100)
    return await approve(number).number


async def start(number: int) -> str:
    execution: str = right.start(number, note="a")
    total: int = await right(number)
    right.start("7")
    right.options(key="7").start(number, notes="a")
    missing: str = await right(number)
    return await right.astart(number, total)
"""


@pytest.fixture
def project(tmp_path):
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "functions.py").write_text(FUNCTIONS)
    (package / "workflows.py").write_text(WORKFLOWS)
    return tmp_path


def check(project, *command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    ).stdout


@pytest.mark.skipif(not importlib.util.find_spec("mypy"), reason="mypy is not installed")
def test_mypy(project):
    (project / "mypy.ini").write_text("[mypy]\nstrict = True\nfollow_imports = silent\n")
    output = check(project, "mypy", "project", "--no-error-summary", "--hide-error-codes")

    file = "project/workflows.py"
    assert output.splitlines() == [
        f'{file}:19: error: Argument 1 has incompatible type "str"; expected "int"',
        f"{file}:20: error: Too few arguments",
        f"{file}:21: error: Too many arguments",
        f"{file}:22: error: Incompatible types in assignment (expression has type "
        '"Receipt", variable has type "str")',
        f'{file}:23: error: "Coroutine[Any, Any, Receipt]" has no attribute "number"',
        f'{file}:23: note: Maybe you forgot to use "await"?',
        f'{file}:24: error: Incompatible types in "await" (actual type "Receipt", expected type '
        '"Awaitable[Any]")',
        f'{file}:25: error: Returning Any from function declared to return "int"',
        f'{file}:25: error: "Coroutine[Any, Any, bool]" has no attribute "number"',
        f'{file}:31: error: Argument 1 to "start" of "Workflow" has incompatible type "str"; '
        'expected "int"',
        f'{file}:32: error: Unexpected keyword argument "notes" for "start" of "Starter"; did you '
        'mean "note"?',
        f'{file}:32: note: "start" defined in "durable_monty.workflows.workflow"',
        f'{file}:33: error: Incompatible types in assignment (expression has type "int", variable '
        'has type "str")',
        f'{file}:34: error: Too many positional arguments for "astart" of "Workflow"',
        f'{file}:34: note: "astart" defined in "durable_monty.workflows.workflow"',
        f'{file}:34: error: Argument 2 to "astart" of "Workflow" has incompatible type "int"; '
        'expected "str"',
    ]


@pytest.mark.skipif(
    not importlib.util.find_spec("basedpyright"), reason="basedpyright is not installed"
)
def test_pyright(project):
    config = {"include": ["project"], "typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (project / "pyrightconfig.json").write_text(json.dumps(config))
    found = json.loads(check(project, "basedpyright", "--outputjson"))["generalDiagnostics"]

    assert {Path(each["file"]).name for each in found} == {"workflows.py"}
    assert [
        (each["range"]["start"]["line"] + 1, each["message"].partition("\n")[0]) for each in found
    ] == [
        (
            19,
            'Argument of type "Literal[\'7\']" cannot be assigned to parameter "number" of type '
            '"int"',
        ),
        (20, 'Argument missing for parameter "cents"'),
        (21, "Expected 1 positional argument"),
        (22, 'Type "Receipt" is not assignable to declared type "str"'),
        (23, 'Cannot access attribute "number" for class "Coroutine[Any, Any, Receipt]"'),
        (24, '"Receipt" is not awaitable'),
        (25, 'Cannot access attribute "number" for class "Coroutine[Any, Any, bool]"'),
        (
            31,
            'Argument of type "Literal[\'7\']" cannot be assigned to parameter "number" of type '
            '"int" in function "start"',
        ),
        (32, 'No parameter named "notes"'),
        (33, 'Type "int" is not assignable to declared type "str"'),
        (34, "Expected 1 positional argument"),
    ]

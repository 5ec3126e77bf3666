"""Typical mistakes, each with all that is said of it: a table in `mistakes.txt`."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from durable_monty import OrchestratorService, conf
from durable_monty.exceptions import HostFault, InvalidWorkflow, WrongSource
from durable_monty.program_check import REFUSED, check_program
from durable_monty.sandbox import Failed, Interpreter, Limits, Settled, Suspended, Workflow

TABLE = Path(__file__).with_name("mistakes.txt")
FUNCTIONS = {"add": "add", "approve": "approve", "fail": "fail"}
LIMITS = Limits(64 * 2**20, 5.0, 100, 10_000, 10_000, processes=128)
_SAID = re.compile(r"^(?:check|start|run)> .*\n?", re.MULTILINE)


def mistakes():
    for row in TABLE.read_text().split("=====\n")[1:]:
        said = [line.rstrip("\n") for line in _SAID.findall(row)]
        source = _SAID.sub("", row).rstrip("\n")
        yield pytest.param(source, said, id=source.replace("\n", "; ")[:60])


@pytest.mark.parametrize(("source", "said"), [*mistakes()])
def test_what_is_said_of_a_mistake(source, said):
    complaints = check_program(source, FUNCTIONS, ["number"])

    lines = [f"check> {c.line}:{c.column} {c.rule}: {c.message}" for c in complaints]
    if any(complaint.rule in REFUSED for complaint in complaints):
        lines.append("start> refused")
    if error := error_of_run(source):
        lines.append(f"run> {error}")
    assert lines == said


def error_of_run(source):
    workflow = Workflow(source, FUNCTIONS, '{"number":1}', "seed")
    with Interpreter(workflow, LIMITS, lambda: datetime.now(UTC)) as interpreter:
        outcome = interpreter.start().outcome
        while isinstance(outcome, Suspended):
            answers = dict.fromkeys(interpreter.pending, Settled("5"))
            outcome = interpreter.resume(answers).outcome
    failed = isinstance(outcome, Failed)
    return f"{outcome.error_type}: {outcome.message}" if failed else None


def test_the_table_has_every_rule_that_refuses():
    text = TABLE.read_text()
    assert all(f" {rule}: " in text for rule in REFUSED)


RIGHT = {
    "returns at the top level": "if number:\n    return {'early': await add(1, 2)}\n3",
    "an import that may fail": "try:\n    import numpy\nexcept ImportError:\n    numpy = None",
    "a name that may fail": "try:\n    total\nexcept NameError:\n    total = 1\ntotal",
    "a file that may fail": "try:\n    open('x')\nexcept PermissionError:\n    pass",
    "builtins that the checker lacks": "list(map(str, filter(None, [number])))",
    "exceptions that the checker lacks": "try:\n    await add(1, 2)\nexcept ImportError: pass",
    "a name that exec gives": "exec('x = 1')\nx",
    "a name that a function gives": "def f():\n    global x\n    x = 1\nf()\nx",
    "annotations, which are not evaluated": "def f(a: 'Order') -> Receipt:\n    b: Nope = a\nf(1)",
    "imports for a checker": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop import Order\n1"
    ),
    "a future import": "from __future__ import annotations\nx: Nope = 1",
    "methods that are only called": (
        "from datetime import datetime, timezone\ndatetime.now(timezone.utc)"
    ),
    "a class of its own": "class Order:\n    total = 1\nif Order().total:\n    1",
    "a function that hides one of ours": "def add(x):\n    return x\nadd(1)",
    "a name that hides a builtin": "def open(x):\n    return x\nopen(1)",
    "results that are added up": (
        "from asyncio import gather\nresults = []\n"
        "results += await gather(add(1, 2), add(3, 4))\nresults"
    ),
    "a call that is awaited later": "first = add(1, 2)\nsecond = await add(3, 4)\nawait first",
    "coroutines in a list": (
        "from asyncio import gather\nasync def one(x):\n    return await add(x, 1)\n"
        "calls = [one(x) for x in [1, 2]]\nawait gather(*calls)"
    ),
    "conditions that are always true": "import math\nif math and add and (1,):\n    1",
    "any number of arguments": "await add(*[1, 2])\nawait add(**{'a': 1, 'b': 2})",
}


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_nothing_that_runs_is_refused(source):
    assert error_of_run(source) is None
    complaints = check_program(source, FUNCTIONS, ["number"])
    assert [complaint for complaint in complaints if complaint.rule in REFUSED] == []


def test_a_source_that_this_python_cannot_parse(monkeypatch):
    def parse(source):
        raise SyntaxError

    monkeypatch.setattr("durable_monty.sandbox.source_index.ast.parse", parse)
    (complaint,) = check_program("print(nope_312)", FUNCTIONS, [])
    assert complaint.rule == "unresolved-reference"
    assert complaint.rule not in REFUSED


HOSTILE = {
    "calls": "x = add()\nif x: 1\n" * 2_000,
    "names": "".join(f"nam{number}\n" for number in range(5_000)),
    "one line": "x = " + " + ".join(["é.a.b.c"] * 5_000),
    "attributes": "x = f()" + ".a" * 2_000 + "\n" + "f().a.a.a.a\n" * 2_000,
    "texts": "f'''\n{nope}\n'''\n" * 2_000,
    "imports": "".join(f"import m{number}\n" for number in range(3_000)),
    "dotted": "import json\n" + "json.a.b.c.d.e.f\n" * 3_000,
    "excepts": "try: 1\nexcept Nope: 2\n" * 2_000,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_sources_of_nothing_but_mistakes_have_so_many_complaints(source):
    names = {f"function_{number}": "add" for number in range(200)}
    try:
        complaints = check_program(source[:250_000], names, [])
    except HostFault:
        return  # the checker's own limits
    assert len(complaints) <= 501
    assert len(str(WrongSource(complaints)).split("\n")) <= 22


@pytest.mark.django_db
def test_check_and_start_say_the_same():
    service = OrchestratorService()
    source = "first = add(1, 2)\nif first:\n    await ad(1, 2)\nx = await add(3, 4)"

    complaints = service.check(source, ["add"])
    with pytest.raises(InvalidWorkflow) as refused:
        service.start_execution(source, ["add"])

    assert [complaint.rule for complaint in complaints] == [
        "not-awaited",
        "unknown-name",
        "lost-output",
    ]
    assert list(refused.value.complaints) == complaints[:2]
    assert str(refused.value) == (
        "The workflow cannot work.\n"
        "Line 2, column 4: add(...), called on line 1, was never awaited. Write: await add(...).\n"
        "Line 3, column 11: 'ad' is not a function that this workflow may call: did you mean "
        "'add'? It may call: add."
    )
    assert conf.current().CHECK == "error"

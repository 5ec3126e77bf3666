"""`manage.py durable_check`: what a deploy would break."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from durable_monty import FUNCTION_REGISTRY, register_function
from durable_monty.exceptions import DatabaseNotMigrated, HostFault
from durable_monty.management.commands import durable_check
from durable_monty.models import Execution, Program
from durable_monty.sandbox import Checker
from tests.support import run

pytestmark = pytest.mark.django_db

SENDING = "await approve('letter')\nawait send(number, copies=2)"


def check(*args):
    """The lines of the command and its exit code, without the time that it took."""
    output, code = io.StringIO(), 0
    try:
        call_command("durable_check", *args, stdout=output, no_color=True)
    except SystemExit as exc:
        code = exc.code
    if "--json" in args:
        found = json.loads(output.getvalue())
        assert found.pop("seconds") >= 0
        return found, code
    *lines, summary = output.getvalue().splitlines()
    return [*lines, summary.partition(" s: ")[2]], code


def send(number, copies): ...


@pytest.fixture
def sending(register):
    """Executions that wait for a person and will call `send` after that."""
    register("send", send)
    return [
        run(SENDING, ["approve", "send"], {"number": number}, name="letters")
        for number in range(5)
    ]


def deploy(**functions):
    """Functions of another release."""
    for name, func in functions.items():
        register_function(name)(func)


def described(executions):
    program = executions[0].program
    newest = ", ".join(str(each.pk) for each in reversed(executions[-3:]))
    return f"Program {program.sha256[:12]} 'letters', 5 unfinished executions: {newest}, ..."


def test_nothing_in_flight():
    assert check() == (["nothing would break."], 0)


def test_nothing_changed(sending):
    assert check() == (["nothing would break."], 0)


def test_what_is_finished_is_not_looked_at(register):
    register("gone", lambda: 1)
    assert run("await gone()", ["gone"]).status == "completed"
    deploy(gone=lambda more: 1)
    assert check() == (["nothing would break."], 0)


@pytest.mark.parametrize(
    ("func", "problem"),
    [
        (
            lambda number: 1,
            "error [wrong-arguments] Line 2, column 20: Argument `copies` does not match any "
            "known parameter of function `send`.",
        ),
        (
            lambda number, copies, to: 1,
            "error [wrong-arguments] Line 2, column 7: No argument provided for required "
            "parameter `to` of function `send`.",
        ),
    ],
    ids=["removed argument", "new argument"],
)
def test_a_signature_that_changed(sending, func, problem):
    func.__qualname__, func.__module__ = send.__qualname__, send.__module__
    deploy(send=func)

    assert check() == (
        [described(sending), f"  {problem}", "5 executions would break."],
        1,
    )


def test_a_type_that_changed_may_break(sending):
    def changed(number: str, copies: int): ...

    changed.__qualname__ = send.__qualname__
    deploy(send=changed)
    sending += [run("await send(7, 2)\nawait approve('x')", ["approve", "send"])]

    lines, code = check()
    assert (lines[-1], code) == ("nothing would break.", 0)
    assert lines[1] == (
        "  warning [invalid-argument-type] Line 1, column 12: Argument to function `send` is "
        "incorrect: Expected `str`, found `Literal[7]`."
    )


def test_a_function_that_was_renamed(sending, register):
    FUNCTION_REGISTRY.remove("send")
    try:
        register("send_it", send)
        lines, code = check()
        found, json_code = check("--json")
    finally:
        register_function("send")(send)

    known = ", ".join(sorted({*FUNCTION_REGISTRY} - {"send"}))
    message = (
        "The function 'send' is not available: did you mean 'send_it'? no "
        "@register_function('send') was found in the workflows.py of an installed app. "
        f"Known: {known}."
    )
    assert (lines, code) == (
        [
            described(sending),
            f"  error [unknown-function] {message}",
            "5 executions would break.",
        ],
        1,
    )
    assert (found, json_code) == (
        {
            "programs": [
                {
                    "program": sending[0].program.sha256,
                    "name": "letters",
                    "version": None,
                    "executions": 5,
                    "examples": [str(each.pk) for each in reversed(sending[-3:])],
                    "problems": [
                        {"severity": "error", "rule": "unknown-function", "message": message}
                    ],
                }
            ],
            "checked": 1,
            "executions": 5,
            "ok": False,
        },
        1,
    )


def test_a_function_that_the_source_does_not_call_may_go(sending, register):
    register("unused", lambda: 1)
    run("await approve('x')", ["approve", "unused"])
    del FUNCTION_REGISTRY._functions["unused"]
    try:
        assert check() == (["nothing would break."], 0)
    finally:
        register_function("unused")(send)


def test_what_was_wrong_before_is_not_of_this_deploy(durable_settings):
    durable_settings(CHECK="off")
    run("await approve('x')\nif approve('y'):\n    nope()", ["approve"])
    assert check() == (["nothing would break."], 0)


def test_what_cannot_be_checked_is_said(sending, monkeypatch):
    def judge(self, source, stubs):
        raise HostFault("it crashed")

    monkeypatch.setattr("durable_monty.program_check._verdicts", {})
    monkeypatch.setattr("durable_monty.program_check._judged", {})
    monkeypatch.setattr(Checker, "judge", judge)
    lines, code = check()
    assert (lines[1:], code) == (
        ["  warning [not-checked] it crashed", "nothing would break."],
        0,
    )


def test_one_check_and_two_queries_for_each_program(sending, monkeypatch):
    monkeypatch.setattr("durable_monty.program_check._verdicts", {})
    monkeypatch.setattr("durable_monty.program_check._judged", {})
    checked = []
    judge = Checker.judge

    def count(self, source, stubs):
        checked.append(source)
        return judge(self, source, stubs)

    monkeypatch.setattr(Checker, "judge", count)
    now = sending[0].created_at
    programs = Program.objects.bulk_create(
        Program(sha256=f"{number:064}", source=f"await add({number}, 1)", functions_json=FUNCTIONS)
        for number in range(9)
    )
    Execution.objects.bulk_create(
        Execution(program=program, inputs="{}", seed="s", due_at=now, created_at=now)
        for program in programs
        for _ in range(100)
    )
    with CaptureQueriesContext(connection) as queries:
        found, code = check("--json")

    assert (found, code) == ({"programs": [], "checked": 10, "executions": 905, "ok": True}, 0)
    assert len(checked) == 10
    of_executions = [query for query in queries if "durable_monty_execution" in query["sql"]]
    assert len(of_executions) == 1 + 10


FUNCTIONS = '{"add":"add"}'


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            DatabaseNotMigrated("default", ["durable_monty.0001_initial"]),
            "The database 'default' is not migrated (durable_monty.0001_initial). Run: manage.py "
            "migrate",
        ),
        (OperationalError("gone"), "The database 'default' cannot be used: gone"),
    ],
)
def test_a_database_that_cannot_be_used(monkeypatch, error, message):
    def fail(using):
        raise error

    monkeypatch.setattr(durable_check, "check_migrated", fail)
    with pytest.raises(CommandError) as raised:
        check()
    assert (str(raised.value), raised.value.returncode) == (message, 1)


def test_an_unknown_database():
    with pytest.raises(CommandError, match="DATABASES has no 'other'; it has default."):
        check("--database=other")

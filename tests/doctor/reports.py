"""What the tests of `durable_doctor` share."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO

from django.core.management import call_command

from durable_monty import FUNCTION_REGISTRY, OrchestratorService, operations
from durable_monty.models import clock
from durable_monty.operations.repair import repair
from tests.support import advance, run

STAMP = "2026-01-31T14:02:03Z"
LATER = timedelta(days=1)


@dataclass
class Report:
    code: int
    lines: list[str]
    output: str


def doctor(*args, **options):
    output, code = StringIO(), 0
    try:
        call_command("durable_doctor", *map(str, args), stdout=output, no_color=True, **options)
    except SystemExit as exc:
        code = exc.code
    return Report(code, output.getvalue().splitlines(), output.getvalue())


def hire(functions=None):
    """A worker that is alive; by default it has all functions."""
    functions = FUNCTION_REGISTRY if functions is None else functions
    return operations.register_worker("local", functions, using="default")


def begin(code, functions=(), inputs=None, **options):
    """An execution after its first turn; none of its calls was started."""
    execution_id = OrchestratorService().start_execution(code, functions, inputs, **options)
    advance(execution_id)
    return execution_id


def now():
    return clock.database_now("default")


def waiting():
    """An execution that waits for a person."""
    return run("await approve(1)", ["approve"]).pk


def finding(check, severity, message, execution_id, call_id=None):
    place = "" if execution_id is None else f" {execution_id}"
    place += "" if call_id is None else f" call {call_id}"
    return f"{severity} [{check}]{place}: {message}"


def is_found(check, severity, message, execution_id, call_id=None):
    """Asserts that this, and no more, is wrong."""
    report = doctor()
    assert report.lines == [
        finding(check, severity, message, execution_id, call_id),
        "1 wrong.",
    ]
    assert report.code == 1
    assert doctor(execution_id).code == 1 if execution_id else True


def is_repaired(check, severity, message, done, execution_id, call_id=None):  # noqa: PLR0917
    """Asserts as `is_found`, and that --fix repairs it."""
    is_found(check, severity, message, execution_id, call_id)
    report = doctor("--fix")
    assert report.lines == [
        finding(check, "repaired", f"{message} Repaired: {done}", execution_id, call_id),
        "1 repaired, 0 wrong.",
    ]
    assert report.code == 0
    assert doctor().code == 0
    # Somebody else was quicker.
    assert repair(check, uuid.UUID(str(execution_id)), call_id, using="default") == ""

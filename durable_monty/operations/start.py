"""The start of executions, and what a start refuses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from durable_monty import codec, conf
from durable_monty.durations import LONGEST
from durable_monty.exceptions import FunctionNotPermitted, InvalidInputs, InvalidWorkflow
from durable_monty.functions import FUNCTION_REGISTRY, resolve_functions
from durable_monty.models import Execution
from durable_monty.models.clock import database_now
from durable_monty.models.execution import uuid7
from durable_monty.operations.keys import OnConflict, check_on_conflict, find_start
from durable_monty.operations.shortcuts import shortcuts_of
from durable_monty.operations.sources import Code, code_of
from durable_monty.program_check import refuse_wrong
from durable_monty.text_limits import MAX_NAME
from durable_monty.wakeups import announce
from durable_monty.workflows.workflow import Workflow

CALL_ANY_FUNCTION = "durable_monty.call_any_function"


def start_execution(
    code: str,
    external_functions: Iterable[str | Callable[..., Any]],
    inputs: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    name: str = "",
    label: str = "",
    deadline: timedelta | None = None,
    user: Any = None,
    on_conflict: OnConflict = "raise",
    using: str,
) -> Execution:
    """Schedules a run of a source, in the caller's transaction if there is one.

    The same `key` returns the same execution. `on_conflict` says whether a start that means
    something else raises `KeyConflict` or also returns that execution. `user` wrote the code, if
    it is not the project's own; raises `FunctionNotPermitted` if the user may not call a function.
    """
    functions = resolve_functions(external_functions)
    if user is not None:
        check_permitted(user, functions.values())
    check_source(code)
    inputs = inputs or {}
    check_inputs(inputs, functions)
    execution = _new_execution(inputs, name, label, key)
    check_label("name", name, empty=True)
    check = partial(refuse_wrong, code, functions, inputs)
    return _start(
        execution,
        Code(code, functions),
        check,
        deadline=deadline,
        on_conflict=on_conflict,
        using=using,
    )


def start_workflow(
    workflow: Workflow[..., Any],
    inputs: Mapping[str, Any],
    *,
    key: str | None = None,
    label: str = "",
    deadline: timedelta | None = None,
    on_conflict: OnConflict = "raise",
    using: str,
) -> Execution:
    """Schedules a run of a workflow that stands in a file, as `start_execution` does.

    `inputs` are the arguments by name, as `Workflow.bind` returns them.
    """
    code = code_of(workflow)
    execution = _new_execution(inputs, workflow.name, label, key)
    check = partial(_refuse_wrong_once, code)
    return _start(execution, code, check, deadline=deadline, on_conflict=on_conflict, using=using)


def _new_execution(inputs: Mapping[str, Any], name: str, label: str, key: str | None) -> Execution:
    max_bytes = conf.current().MAX_VALUE_BYTES
    text = codec.encode(dict(inputs), path="inputs", max_bytes=max_bytes)
    execution = Execution(id=uuid7(), name=name, label=label, key=key, inputs=text)
    execution.seed = str(execution.pk)
    return execution


def _start(
    execution: Execution,
    code: Code,
    check: Callable[[], None],
    *,
    deadline: timedelta | None,
    on_conflict: OnConflict,
    using: str,
) -> Execution:
    """Inserts an execution of `code`, or returns the one that has its key."""
    key = execution.key
    check_label("label", execution.label, empty=True)
    if deadline is not None and not timedelta() < deadline <= timedelta(seconds=LONGEST):
        raise InvalidWorkflow(
            f"The deadline must be a positive timedelta of at most 100 years, not {deadline!r}."
        )
    find_known = partial(
        find_start,
        key,
        code,
        execution.inputs,
        name=execution.name,
        on_conflict=on_conflict,
        using=using,
    )
    if key is not None:
        check_label("key", key, empty=False)
        check_on_conflict(on_conflict)
        if (known := find_known()) is not None:
            return known
    # Not inside the transaction below: the check takes milliseconds.
    check()
    # Without a key there is nothing to conflict with, so one INSERT needs no savepoint.
    if key is None and deadline is None and shortcuts_of(using).start(execution, code):
        announce(using)
        return execution
    try:
        # A savepoint: a lost race for the key must not spoil the caller's transaction.
        with transaction.atomic(using):
            announce(using)
            now = execution.created_at = execution.due_at = database_now(using)
            code.give_to(execution, using)
            execution.deadline = None if deadline is None else now + deadline
            execution.save(using=using, force_insert=True)
            return execution
    except IntegrityError:
        if (known := find_known()) is None:
            raise
        return known


# The digests of the workflows that this process has checked, with the functions and the setting
# for which they passed.
_passed: dict[str, tuple[int, str]] = {}


def _refuse_wrong_once(code: Code) -> None:
    """Raises `WrongSource` for a workflow that can only fail; checks each digest once."""
    state = FUNCTION_REGISTRY.version, conf.current().CHECK
    if _passed.get(code.digest) != state:
        refuse_wrong(code.source, code.functions, code.variables({}), file=code.file)
        _passed[code.digest] = state


def offered_to(user: Any) -> set[str]:
    """Returns the functions that opted in with `admin=True`, or all that are registered if the
    user has the permission for them."""
    is_trusted = user.has_perm(CALL_ANY_FUNCTION)
    return {entry.name for entry in FUNCTION_REGISTRY.values() if entry.admin or is_trusted}


def check_permitted(user: Any, functions: Iterable[str], kept: Collection[str] = ()) -> None:
    """Raises `FunctionNotPermitted` if a workflow of this user may not call one of the functions.

    `kept`: functions that the same source was allowed to call before.
    """
    if refused := {*functions} - {*kept} - offered_to(user):
        raise FunctionNotPermitted(refused)


def check_source(code: str) -> None:
    if not isinstance(code, str):
        raise InvalidWorkflow(f"The workflow source must be a str, not {type(code).__name__}.")
    if not code.strip():
        raise InvalidWorkflow("The workflow source is empty.")
    try:
        size = len(code.encode())
    except UnicodeEncodeError as exc:
        raise InvalidWorkflow(f"The workflow source is not valid Unicode: {exc}.") from exc
    limit = conf.current().MAX_SOURCE_BYTES
    if size > limit:
        raise InvalidWorkflow(
            f"The workflow source has {size:,} bytes; "
            f"DURABLE_MONTY['MAX_SOURCE_BYTES'] allows {limit:,}."
        )
    if "\0" in code:
        raise InvalidWorkflow("The workflow source contains a NUL character.")


def check_inputs(inputs: Mapping[str, Any], functions: Mapping[str, str]) -> None:
    if not isinstance(inputs, Mapping):
        raise InvalidInputs(
            f"inputs must be a dict of variable names to values, not {type(inputs).__name__}."
        )
    for name in inputs:
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidInputs(f"The input name {name!r} is not a Python variable name.")
        if name in functions:
            raise InvalidInputs(f"{name!r} is both an input and a function of the workflow.")


def check_label(what: str, text: str, *, empty: bool) -> None:
    if not isinstance(text, str) or (not text and not empty):
        raise InvalidWorkflow(f"The {what} must be a non-empty str, not {text!r}.")
    if len(text) > MAX_NAME or not text.isprintable():
        raise InvalidWorkflow(
            f"The {what} must be printable and at most {MAX_NAME} characters long: {text[:60]!r}."
        )

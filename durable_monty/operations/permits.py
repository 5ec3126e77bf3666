"""The functions that workflows of staff may call."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from durable_monty.exceptions import FunctionNotPermitted
from durable_monty.functions import FUNCTION_REGISTRY

CALL_ANY_FUNCTION = "durable_monty.call_any_function"


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

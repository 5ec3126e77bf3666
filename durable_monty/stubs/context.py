"""Describes the place of an annotation."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from durable_monty.stubs.forms import Variables
from durable_monty.stubs.scopes import Scope


class Way(Enum):
    """Says where a value goes, and how exactly an argument is described.

    The type checker takes lists and dicts for invariant, and a dict that is no display for no
    TypedDict. Arguments are copied, so `LENIENT` stubs accept what has the right elements.
    """

    RESULT = "result"
    ARGUMENT = "argument"
    LENIENT = "lenient argument"


@dataclass(frozen=True, slots=True)
class Context:
    """The place of an annotation. `is_dumped`: within a pydantic model, whose dataclasses are
    dicts. `depth` ends generic classes that contain themselves with other arguments."""

    way: Way
    scope: Scope = field(default_factory=Scope)
    variables: Variables = field(default_factory=dict)
    owner: Any = Any
    is_dumped: bool = False
    depth: int = 0

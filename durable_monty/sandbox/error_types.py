"""Maps the exceptions of functions to those of the sandbox, and back for `error_type(error)`."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Mapping

from pydantic_monty import ExternalSettledResult, FunctionSnapshot

from durable_monty.sandbox.types import Settled

# The names are Python's, the values are what the sandbox calls them. This is our own list, so that
# a replay on another version of the sandbox raises the same. StopIteration is missing, because a
# coroutine may not raise it, and so is what `except Exception` would not catch.
_NAMES = (
    "ArithmeticError AssertionError AttributeError Exception FileExistsError FileNotFoundError "
    "ImportError IndexError IsADirectoryError KeyError LookupError MemoryError "
    "ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError OverflowError "
    "PermissionError RecursionError RuntimeError SyntaxError TimeoutError TypeError "
    "UnboundLocalError UnicodeDecodeError UnicodeEncodeError ValueError ZeroDivisionError"
).split()
RAISABLE: Mapping[str, str] = {name: name for name in _NAMES} | {
    "JSONDecodeError": "json.JSONDecodeError"
}
_TYPES = {getattr(builtins, name): name for name in _NAMES} | {
    json.JSONDecodeError: "JSONDecodeError"
}
ERROR_TYPE = "error_type"

# The exceptions that the sandbox gives to the host as another type.
_ARRIVES_AS = {
    "JSONDecodeError": "ValueError",
    "UnicodeDecodeError": "ValueError",
    "UnicodeEncodeError": "ValueError",
}


class ErrorTypes:
    """The own types of the errors that were delivered to a run, for `error_type(error)`.

    An exception in the sandbox has its type there and its message: by these its own type is found.
    If several errors share them, those of the newest turn count.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], set[str]] = {}

    def note(self, answers: Iterable[Settled]) -> None:
        """Notes the errors among the answers of one turn; turns come in their order."""
        found: dict[tuple[str, str], set[str]] = {}
        for answer in answers:
            if answer.result is None:
                kind = answer.raised_as or answer.error_type
                key = (_ARRIVES_AS.get(kind, kind), answer.error_message)
                found.setdefault(key, set()).add(answer.error_type)
        self.known |= found

    def answer(self, snapshot: FunctionSnapshot) -> ExternalSettledResult:
        """Returns what a call of `error_type` is resumed with."""
        error = snapshot.args[0] if len(snapshot.args) == 1 and not snapshot.kwargs else None
        if not isinstance(error, BaseException):
            return {"exc_type": "TypeError", "message": "error_type() takes one exception"}
        kind, message = type(error).__name__, str(error.args[0]) if error.args else ""
        types = sorted(self.known.get((kind, message), {kind}))
        if len(types) > 1:
            why = f"error_type() cannot tell {' from '.join(types)}: they came together, with one"
            return {"exc_type": "RuntimeError", "message": f"{why} message"}
        return {"return_value": types[0]}


def nearest(kind: type[BaseException]) -> str:
    """Returns the name of the first class among `kind` and its bases that a workflow can catch.

    SystemExit and the like, which have no such base, become RuntimeError: `except Exception` must
    catch whatever a function raises.
    """
    return next((_TYPES[base] for base in kind.__mro__ if base in _TYPES), "RuntimeError")

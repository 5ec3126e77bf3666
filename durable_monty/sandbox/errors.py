"""Exceptions of functions, as the sandbox can raise them."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping

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


def nearest(kind: type[BaseException]) -> str:
    """Returns the name of the first class among `kind` and its bases that a workflow can catch.

    SystemExit and the like, which have no such base, become RuntimeError: `except Exception` must
    catch whatever a function raises.
    """
    return next((_TYPES[base] for base in kind.__mro__ if base in _TYPES), "RuntimeError")

"""Says what to write instead: texts for typical mistakes, for the check and for a failed run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any

from pydantic_monty import ExternalExceptionData

_FUNCTION = "Write a function with @register_function that uses it, and call that function."
_GATHER = "Write: await gather(first(...), second(...))."
_TIMEOUT = (
    "Give the function a time-out, @register_function(schedule_to_close=60): "
    "its await raises TimeoutError."
)
_NO_LOCK = "A workflow runs one line at a time and needs no lock. Use a plain variable or a list."
_AWAIT = "Await coroutines directly; the workflow runs in an event loop already."

# Modules that the sandbox lacks and that a function is no remedy for.
_MODULES = {
    "enum": "Write constants instead: PAID = 'paid'.",
    "logging": "Write: print(...). It goes into the execution's log.",
    "threading": _GATHER,
    "multiprocessing": _GATHER,
    "concurrent": _GATHER,
    "subprocess": "Write a function with @register_function that runs the program.",
}

# Members of (module or class) that the sandbox lacks, or that can only fail there.
_MEMBERS = {
    ("asyncio", "create_task"): _GATHER,
    ("asyncio", "ensure_future"): _GATHER,
    ("asyncio", "TaskGroup"): _GATHER,
    ("asyncio", "wait_for"): _TIMEOUT,
    ("asyncio", "timeout"): _TIMEOUT,
    ("asyncio", "wait"): _GATHER,
    ("asyncio", "as_completed"): (
        "Write what follows each call in an async def, and: "
        "await gather(*[one(item) for item in items])."
    ),
    ("asyncio", "Queue"): "Use a list.",
    ("asyncio", "Lock"): _NO_LOCK,
    ("asyncio", "Semaphore"): _NO_LOCK,
    ("asyncio", "Condition"): _NO_LOCK,
    ("asyncio", "Event"): "Wait for a function with executor='manual', which is answered later.",
    ("asyncio", "to_thread"): "Register the function and call it: it runs outside the workflow.",
    ("asyncio", "get_event_loop"): _AWAIT,
    ("asyncio", "get_running_loop"): _AWAIT,
    ("asyncio", "new_event_loop"): _AWAIT,
    ("asyncio", "TimeoutError"): "Write: TimeoutError.",
    ("asyncio", "run_coroutine_threadsafe"): _AWAIT,
    ("asyncio", "CancelledError"): "Write: except BaseException. Or clean up in a finally.",
    ("datetime", "UTC"): "Write: from datetime import timezone, and: timezone.utc.",
    ("datetime.datetime", "utcnow"): "Write: datetime.now(timezone.utc).",
    ("datetime.datetime", "utcfromtimestamp"): "Write: datetime.fromtimestamp(..., timezone.utc).",
    ("os", "environ"): "A workflow does not see the environment. Give it inputs.",
    ("os", "getenv"): "A workflow does not see the environment. Give it inputs.",
    ("sys", "exit"): "Write: return, or raise an exception: raise ValueError(...).",
    ("time", "sleep"): "It would hold a worker. Write: await asyncio.sleep(...).",
    ("typing", "NamedTuple"): "Write: from collections import namedtuple.",
    ("typing", "TypedDict"): "Use a plain dict.",
    ("typing", "cast"): "Leave it out: types have no effect when it runs.",
    ("typing", "NewType"): "Leave it out: types have no effect when it runs.",
}

# Names that a workflow does not have, or that do nothing in it.
_NAMES = {
    "gather": "Write: from asyncio import gather.",
    "sleep": "Write: from asyncio import sleep.",
    "input": (
        "A workflow has no terminal. Give it inputs, or call a function with executor='manual', "
        "which a person answers."
    ),
    "open": "A workflow has no files. Read or write the file in a function.",
    "exit": "Write: return, or raise an exception: raise ValueError(...).",
    "quit": "Write: return, or raise an exception: raise ValueError(...).",
    "staticmethod": "Write a function outside of the class.",
    "classmethod": "Write a function outside of the class.",
    "property": "Write a method, and call it: order.total().",
}

# The type checker knows these names, the sandbox does not.
NOT_IN_THE_SANDBOX = frozenset({"exit", "quit", "help", "EnvironmentError", "IOError"})

# Constructs that the parser of the sandbox refuses, by the words in its message.
_CONSTRUCTS = {
    "yield expressions": "Collect the values in a list and return it.",
    "async context managers (async with)": (
        "Write try and finally, or do the whole in one function."
    ),
    "async for loops": "Write: for item in await items(...).",
    "async comprehensions": "Write: [... for item in await items(...)].",
    "the 'del' statement": "Write: name = None. For a key or an item: items.pop(key).",
    "class inheritance and metaclasses": (
        "Write the class without bases. For an exception raise a builtin one, such as "
        "ValueError; for an Enum write constants; for a record use @dataclass."
    ),
    "method decorators (classmethod/staticmethod/property)": (
        "Write a method and call it, order.total(), or a function outside of the class."
    ),
    "exception groups (try*/except*)": "Write: except, once for each type.",
    "type aliases": "Write: Name = int.",
    "class bodies containing anything other than methods and simple class variables": (
        "Move it out of the class."
    ),
    "complex class variable targets (only `name = <expr>` is allowed)": (
        "Give each variable of the class a line of its own: first = 1."
    ),
    "template strings (t-strings)": "Write an f-string.",
    "wildcard imports": "Name what you need: from asyncio import gather, sleep.",
}
_PARSER = "The monty syntax parser does not yet support "

AWAIT_FIRST = "A call was not awaited. Write await before it: (await load(...))['key']."
NOT_AWAITED = "A call is used here that was never awaited. Write await before it."
FENCE = (
    "The source stands in a fence of backticks (```). Remove the lines of the fence; what is "
    "between them is the workflow."
)
CALLED_TOO_EARLY = (
    "a function cannot be called while the module is defined; call it in the workflow"
)
GATHER_LIST = "gather takes calls, not a list of them. Write: gather(*calls)."
GATHER_KEYWORDS = (
    "gather takes no keyword arguments. For return_exceptions=True write try and except in an "
    "async def around each call."
)
# Messages of a run of the sandbox; the groups of a pattern lead to one of the remedies above.
_BY_PART = {
    "Wildcard imports": _CONSTRUCTS["wildcard imports"],
    "Got unexpected token `": FENCE,
    "gather() does not yet support keyword arguments": GATHER_KEYWORDS,
    "An asyncio.Future, a coroutine or an awaitable is required": GATHER_LIST,
    "Permission denied: ": _NAMES["open"],
    "'coroutine' object is not ": AWAIT_FIRST,
    "'typing._SpecialForm' object is not ": (
        "Use it in annotations only: types have no effect when it runs."
    ),
    "dataclass() does not yet support the ": "Leave the option out.",
    "'coroutine' and ": AWAIT_FIRST,
    "and 'coroutine'": AWAIT_FIRST,
}
_CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_NO_ATTRIBUTE = re.compile(r"(?:module|type object) '([\w.]+)' has no attribute '(\w+)'")
_NOT_SUPPORTED = re.compile(r"'(\w+)\.(\w+)' is not supported in this environment")
_NOT_DEFINED = re.compile(r"name '(\w+)' is not defined$")
_LONGEST_NAME = 100

# Calls that the sandbox has and that can only fail.
ALWAYS_FAILING = {
    "open": f"open() fails. {_NAMES['open']}",
    "time.sleep": f"time.sleep() fails. {_MEMBERS['time', 'sleep']}",
}


def missing_module(name: str) -> str:
    remedy = _MODULES.get(name.partition(".")[0], _FUNCTION)
    return f"No module named {name!r} in the sandbox. {remedy}"


def missing_member(owner: str, name: str) -> str:
    remedy = _MEMBERS.get((owner, name), "Write it in another way, or in a function.")
    return f"The sandbox has no {owner}.{name}. {remedy}"


def unsupported(construct: str) -> str:
    """Returns the message for a construct, given in the words of the sandbox's parser."""
    remedy = _CONSTRUCTS.get(construct, "Write it in another way, or in a function.")
    return f"A workflow cannot have {construct}. {remedy}"


def refused(message: str) -> str:
    """Returns a message of the sandbox's parser in our words."""
    if not message.startswith(_PARSER):
        return with_remedy(message)
    return unsupported(message.removeprefix(_PARSER))


def unknown_function(name: str, functions: Collection[str] | None) -> str:
    """Returns the message for an unknown name that is called.

    `functions` are the names that the workflow may call; None names none of them.
    """
    if remedy := _NAMES.get(name):
        return f"name {name!r} is not defined. {remedy}"
    if functions is None:
        return f"{name!r} is not a function that this workflow may call"
    known = ", ".join(sorted(functions)) or "none"
    close = close_to(name, functions)
    hint = f": did you mean {close!r}? It" if close else "; it"
    return f"{name!r} is not a function that this workflow may call{hint} may call: {known}"


def unknown_name(name: str, known: Collection[str]) -> str:
    """Returns the message for an unknown name that is read; `known`: functions and inputs."""
    if remedy := _NAMES.get(name):
        return f"name {name!r} is not defined. {remedy}"
    close = close_to(name, known)
    hint = f"Did you mean {close!r}?" if close else "Assign it first, or give it as an input."
    return f"name {name!r} is not defined. {hint}"


def unmatched_except(name: str, arrives_as: str | None) -> str:
    """Returns the message for an `except` of an exception that the sandbox does not know."""
    how = (
        f"It arrives as {arrives_as}"
        if arrives_as
        else "An exception of yours arrives as its nearest builtin base"
    )
    return (
        f"{name} never matches: the sandbox does not know it. {how}. Write: except "
        f"{arrives_as or 'Exception'} as error, and: if error_type(error) == {name!r}."
    )


def unknown_exception(name: str, arrives_as: str | None) -> str:
    known = arrives_as or "ValueError"
    return f"The sandbox does not know the exception {name}. Use a builtin one, such as {known}."


def has_remedy(owner: str, name: str) -> bool:
    return (owner, name) in _MEMBERS


def lost_output(name: str) -> str:
    return (
        "The output is the value of the last line, and an assignment has none: it is None. "
        f"Write on a line after it: {name}."
    )


def refusal_of(name: str, args: Sequence[Any]) -> ExternalExceptionData | None:
    """Returns the error for a system call that nobody serves, if there is a remedy for it."""
    if name == "time.sleep":
        message = "time.sleep() would hold a worker; write: await asyncio.sleep(...)"
        return {"exc_type": "RuntimeError", "message": message}
    if name == "import":
        return {"exc_type": "ModuleNotFoundError", "message": missing_module(str(args[0]))}
    return None


def fails(error: str) -> str:
    """Returns the message for a definition that raises an error, given with its type."""
    return f"This raises an error in the sandbox: {with_remedy(error).rstrip('.')}."


def with_remedy(message: str) -> str:
    """Returns an error message of the sandbox, with what to write instead where that is known."""
    remedy: str | None = None
    if message.startswith(_PARSER):
        remedy = _CONSTRUCTS.get(message.removeprefix(_PARSER))
    elif parts := [found for part, found in _BY_PART.items() if part in message]:
        remedy = parts[0]
    elif match := _CANNOT_IMPORT.search(message):
        remedy = _MEMBERS.get((match[2], match[1]))
    elif match := _NO_ATTRIBUTE.search(message) or _NOT_SUPPORTED.search(message):
        remedy = _MEMBERS.get((match[1], match[2]))
    elif match := _NOT_DEFINED.match(message):
        remedy = _NAMES.get(match[1])
    return f"{message}. {remedy}" if remedy else message


def close_to(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST_NAME:
        return None
    return next(iter(difflib.get_close_matches(name, known, 1)), None)

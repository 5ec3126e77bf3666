"""What is written down of an exception, whatever its class does when it is asked.

The exception of a function is its author's code: `__str__` and properties may raise, even
`isinstance` may (it asks for `__class__`), and a message may have megabytes. Messages are cut
before a traceback is formatted, because Python takes 7 s to format one of 30 MB.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

MESSAGE_LIMIT = 10_000


def type_of(exc: BaseException) -> str:
    """Returns the name of its class, which a metaclass may hide."""
    name: str = vars(type)["__name__"].__get__(type(exc))
    return name


def cause_of(exc: BaseException) -> BaseException | None:
    """Returns what it was raised from."""
    cause: BaseException | None = vars(BaseException)["__cause__"].__get__(exc)
    return cause


def message_of(exc: BaseException) -> str:
    """Returns `str(exc)`, or says why there is none."""
    try:
        if isinstance(exc, KeyError) and len(exc.args) == 1 and isinstance(exc.args[0], str):
            return exc.args[0]  # str() would add quotes, and raising it again more of them
        return str(exc)
    except BaseException as failure:  # noqa: BLE001  (it may raise anything)
        return f"(no message: str() of this {type_of(exc)} raised {type_of(failure)})"


def traceback_of(exc: BaseException) -> str:
    """Returns the formatted traceback, with long messages cut."""
    try:
        root = traceback.TracebackException.from_exception(exc, compact=True)
        for told in _all_of(root):
            _shorten(told)
        return "".join(root.format())
    except BaseException as failure:  # noqa: BLE001  (`__notes__` or `__cause__` may be properties)
        frames = "".join(traceback.format_tb(exc.__traceback__))
        return f"{frames}{type_of(exc)}: (formatting it raised {type_of(failure)})\n"


def _all_of(root: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yields `root`, its causes and the members of groups."""
    waiting = [root]
    while waiting:
        told = waiting.pop()
        yield told
        related = (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ()))
        waiting += [each for each in related if each is not None]


def _shorten(told: traceback.TracebackException) -> None:
    facts = vars(told)  # the message has no public name
    facts["_str"] = _cut(facts.get("_str") or "")
    notes = getattr(told, "__notes__", None)
    if isinstance(notes, list | tuple):
        told.__notes__ = [_cut(str(note)) for note in notes]


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_LIMIT:
        return text
    return f"{text[:MESSAGE_LIMIT]} … [cut, {len(text):,} characters]"

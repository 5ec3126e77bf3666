"""The texts of an exception, whatever the methods of its class do.

The exception of a function is its author's code: `__str__` and properties may raise, even
`isinstance` may (it reads `__class__`), and a message may have megabytes.
"""

from __future__ import annotations

import traceback

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
        has_its_own = type(exc).__str__ is not KeyError.__str__
        if not has_its_own and len(exc.args) == 1 and isinstance(exc.args[0], str):
            return exc.args[0]  # str() would add quotes, and raising it again more of them
        return str(exc)
    except BaseException as failure:  # noqa: BLE001  (it may raise anything)
        return f"(no message: str() of this {type_of(exc)} raised {type_of(failure)})"


def traceback_of(exc: BaseException) -> str:
    """Returns the formatted traceback, with long messages cut."""
    try:
        root = traceback.TracebackException.from_exception(exc, compact=True)
        found = [root]
        # Messages are cut before they are formatted: Python takes 7 s to format one of 30 MB.
        while found:
            part = found.pop()
            facts = vars(part)  # the message has no public name
            facts["_str"] = _cut(facts.get("_str") or "")
            notes = getattr(part, "__notes__", None)
            if isinstance(notes, list | tuple):
                part.__notes__ = [_cut(str(note)) for note in notes]
            related = (
                part.__cause__,
                part.__context__,
                *(getattr(part, "exceptions", None) or ()),
            )
            found += [each for each in related if each is not None]
        return "".join(root.format())
    except BaseException as failure:  # noqa: BLE001  (`__notes__` or `__cause__` may be properties)
        frames = "".join(traceback.format_tb(exc.__traceback__))
        return f"{frames}{type_of(exc)}: (formatting it raised {type_of(failure)})\n"


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_LIMIT:
        return text
    return f"{text[:MESSAGE_LIMIT]} … [cut, {len(text):,} characters]"

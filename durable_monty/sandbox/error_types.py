"""`error_type(error)`: what a workflow calls to learn the own type of a function's exception."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_monty import ExternalSettledResult, FunctionSnapshot

from durable_monty.sandbox.journal import Settled

ERROR_TYPE = "error_type"

# The exceptions that the sandbox gives to the host as another type.
_ARRIVES_AS = {
    "JSONDecodeError": "ValueError",
    "UnicodeDecodeError": "ValueError",
    "UnicodeEncodeError": "ValueError",
}


class ErrorTypes:
    """The own types of the errors that a run was given.

    The sandbox keeps of an exception its type there and its message, so by these it is found
    again; of several, those of the newest turn count.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], set[str]] = {}

    def note(self, answers: Iterable[Settled]) -> None:
        """`answers` of one turn; turns come in their order."""
        found: dict[tuple[str, str], set[str]] = {}
        for answer in answers:
            if answer.result is None:
                kind = answer.raised_as or answer.error_type
                key = (_ARRIVES_AS.get(kind, kind), answer.error_message)
                found.setdefault(key, set()).add(answer.error_type)
        self.known |= found

    def answer(self, snapshot: FunctionSnapshot) -> ExternalSettledResult:
        """What a call of `error_type` is resumed with."""
        error = snapshot.args[0] if len(snapshot.args) == 1 and not snapshot.kwargs else None
        if not isinstance(error, BaseException):
            return {"exc_type": "TypeError", "message": "error_type() takes one exception"}
        kind, message = type(error).__name__, str(error.args[0]) if error.args else ""
        types = sorted(self.known.get((kind, message), {kind}))
        if len(types) > 1:
            why = f"error_type() cannot tell {' from '.join(types)}: they came together, with one"
            return {"exc_type": "RuntimeError", "message": f"{why} message"}
        return {"return_value": types[0]}

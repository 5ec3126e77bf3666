"""What an exception of `modal.FunctionCall.get` says about the call.

It raises the exception of the function, and exceptions of its own, by the same way.
"""

from __future__ import annotations

import ast
import asyncio
import re
import traceback

from modal import exception as errors

from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.base import JobStatus
from durable_monty.operations.exception_texts import message_of

# Modal cannot be reached, or refuses the token: it may be better in a while.
UNREACHABLE = (
    errors.AuthError,
    errors.ClientClosed,
    errors.ConnectionError,
    errors.InternalError,
    errors.PermissionDeniedError,
    errors.ResourceExhaustedError,
    errors.ServiceError,
    OSError,
)

_REMOTE_TRACEBACK = "Here is the remote traceback:\n"
# A frame of a traceback, with its lines of source; what follows the last one; the `repr` of an
# exception.
_FRAMES = re.compile(r'^  File ".*\n(?: .*\n)*', re.MULTILINE)
_RAISED = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?", re.DOTALL)
_REPR = re.compile(r"(?P<type>[A-Za-z_]\w*)\((?P<arguments>.*)\)", re.DOTALL)


def job_of(exc: BaseException) -> JobStatus:
    """Returns what `exc` says. Raises `LookupError` if Modal does not know the call any more, and
    `ExecutorUnavailable` if nothing was learnt."""
    if not _is_of_function(exc):
        match exc:
            case errors.NotFoundError() | errors.OutputExpiredError():
                raise LookupError(str(exc)) from exc
            case errors.FunctionTimeoutError():
                return _failed("TimeoutError", str(exc))
            case errors.ExecutionError() | errors.DeserializationError():
                return _unreadable(str(exc))
            case errors.RemoteError():
                return _of_text(str(exc))
            case TimeoutError():
                return {"status": "started"}
            case _ if isinstance(exc, UNREACHABLE):
                raise unavailable(exc) from exc
    return _failed(_name_of(exc), message_of(exc), _traceback_of(exc))


def unavailable(exc: BaseException) -> ExecutorUnavailable:
    remedy = ""
    if isinstance(exc, errors.AuthError | errors.PermissionDeniedError):
        remedy = " Check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run 'modal token new'."
    return ExecutorUnavailable("modal", f"{type(exc).__name__}: {exc}{remedy}")


def _is_of_function(exc: BaseException) -> bool:
    """Modal's client gives the exception of a function the source lines of its traceback."""
    return hasattr(exc, "__line_cache__") or isinstance(exc, asyncio.CancelledError)


def _failed(error_type: str, message: str, remote_traceback: str = "") -> JobStatus:
    return {
        "status": "failed",
        "error_type": error_type,
        "error": message,
        "traceback": remote_traceback,
    }


def _name_of(exc: BaseException) -> str:
    kind = type(exc)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _traceback_of(exc: BaseException) -> str:
    """The frames in the container: Modal writes their files as `<ta-...>:/root/app.py`."""
    frames = traceback.extract_tb(exc.__traceback__)
    there = [frame for frame in frames if frame.filename.startswith("<ta-")]
    lines = traceback.format_list(there or frames)
    return "".join([*lines, f"{_name_of(exc)}: {message_of(exc)}\n"])


def _unreadable(text: str) -> JobStatus:
    """A value or an exception that this process could not load."""
    _, is_exception, told = text.partition(_REMOTE_TRACEBACK)
    if not is_exception:
        return {
            **_failed("TypeError", f"The result cannot be read here; return plain values. {text}"),
            "is_final": True,
        }
    raised = _RAISED.fullmatch(_FRAMES.split(told)[-1].removesuffix("\n"))
    if raised is None:
        return _failed("modal.exception.ExecutionError", text, told)
    return _failed(raised["type"], raised["message"] or "", told)


def _of_text(text: str) -> JobStatus:
    """An exception of which Modal has only the `repr`, or something that Modal says itself."""
    found = _REPR.fullmatch(text)
    if found is None:
        return _failed("modal.exception.RemoteError", text)
    try:
        message = str(ast.literal_eval(found["arguments"] or "''"))
    except (SyntaxError, ValueError):
        message = found["arguments"]
    return _failed(found["type"], message)

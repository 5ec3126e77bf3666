"""Translates the exceptions of `modal.FunctionCall.get`.

It raises the function's exceptions and those of Modal itself in the same way.
"""

from __future__ import annotations

import ast
import asyncio
import re
import traceback

from modal import exception as errors

from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.base import JobStatus, failed_job
from durable_monty.operations.exception_texts import message_of

# Modal cannot be reached, or refuses the token. A later try may succeed.
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
# A frame of a traceback with its lines of source, the exception after the last frame, and the
# `repr` of an exception.
_FRAMES = re.compile(r'^  File ".*\n(?: .*\n)*', re.MULTILINE)
_RAISED = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?", re.DOTALL)
_REPR = re.compile(r"(?P<type>[A-Za-z_]\w*)\((?P<arguments>.*)\)", re.DOTALL)


def job_of(exc: BaseException) -> JobStatus:
    """Returns the status of the job that raised `exc`. Raises LookupError if Modal does not know
    the call any more, and `ExecutorUnavailable` if Modal did not say how the job is."""
    # Modal's client adds the source lines of the traceback to the exceptions of functions alone.
    if not (hasattr(exc, "__line_cache__") or isinstance(exc, asyncio.CancelledError)):
        match exc:
            case errors.NotFoundError() | errors.OutputExpiredError():
                raise LookupError(str(exc)) from exc
            case errors.FunctionTimeoutError():
                return failed_job("TimeoutError", str(exc))
            case errors.ExecutionError() | errors.DeserializationError() | errors.RemoteError():
                return _failure_in_text(str(exc), isinstance(exc, errors.RemoteError))
            case TimeoutError():
                return {"status": "started"}
            case _ if isinstance(exc, UNREACHABLE):
                raise unavailable(exc) from exc
    kind = type(exc)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    frames = traceback.extract_tb(exc.__traceback__)
    # Modal writes the files of the container's frames as `<ta-...>:/root/app.py`.
    remote = [frame for frame in frames if frame.filename.startswith("<ta-")]
    lines = traceback.format_list(remote or frames)
    text = "".join([*lines, f"{name}: {message_of(exc)}\n"])
    return failed_job(name, message_of(exc), text)


def unavailable(exc: BaseException) -> ExecutorUnavailable:
    remedy = ""
    if isinstance(exc, errors.AuthError | errors.PermissionDeniedError):
        remedy = " Check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run 'modal token new'."
    return ExecutorUnavailable("modal", f"{type(exc).__name__}: {exc}{remedy}")


def _failure_in_text(text: str, is_remote_error: bool) -> JobStatus:
    """Returns a failure of which Modal's client has only a text."""
    if is_remote_error:
        # The `repr` of an exception, or a message of Modal.
        if (found := _REPR.fullmatch(text)) is None:
            return failed_job("modal.exception.RemoteError", text)
        try:
            message = str(ast.literal_eval(found["arguments"] or "''"))
        except (SyntaxError, ValueError):
            message = found["arguments"]
        return failed_job(found["type"], message)
    # This process could not load the result, or the class of an exception.
    _, is_exception, remote = text.partition(_REMOTE_TRACEBACK)
    if not is_exception:
        why = f"The result cannot be read here; return plain values. {text}"
        return failed_job("TypeError", why, is_final=True)
    raised = _RAISED.fullmatch(_FRAMES.split(remote)[-1].removesuffix("\n"))
    if raised is None:
        return failed_job("modal.exception.ExecutionError", text, remote)
    return failed_job(raised["type"], raised["message"] or "", remote)

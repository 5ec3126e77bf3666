"""Every error that durable_monty raises to its callers.

Each takes the facts as arguments and owns its message; all derive from `DurableMontyError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from durable_monty.durations import LONGEST_TEXT

_SHOWN = 20


class DurableMontyError(Exception):
    """Base of every error of this package."""


def code_of(kind: type[DurableMontyError]) -> str:
    """Returns the code of an error over HTTP: `CallSettled` is "call_settled"."""
    return re.sub("(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


# --- functions ---


class FunctionError(DurableMontyError):
    """A function was registered or named wrongly."""


class DuplicateFunction(FunctionError):
    def __init__(self, name: str, first: str, second: str) -> None:
        self.name, self.first, self.second = name, first, second
        super().__init__(
            f"The function name {name!r} is registered twice: in {first} and in {second}. "
            "Give one of them another name: @register_function('...')."
        )


class UnknownFunction(FunctionError):
    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"The function {name!r} is not available: {why}")


class FunctionNotPermitted(FunctionError):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        super().__init__(
            f"Source that staff wrote may not call {', '.join(self.names)}. Register it with "
            "admin=True, or give the user the permission durable_monty.call_any_function."
        )


class NonRetryable(DurableMontyError, RuntimeError):
    """Raised by a function: it failed for good, whatever its retry policy says.

    The workflow sees a RuntimeError with its message, or the exception that it was raised `from`.
    """


class RetryAfter(DurableMontyError, RuntimeError):
    """Raised by a function: try again in `seconds`, at most 30 days, if attempts are left.

    The workflow sees a RuntimeError with its message, or the exception that it was raised `from`.
    """

    def __init__(self, seconds: float | str, message: str = "") -> None:
        self.seconds = max(0.0, float(seconds))
        super().__init__(message or f"The function asked to be tried again in {self.seconds:g} s.")


class TransactionLost(DurableMontyError, RuntimeError):
    """A function returned, and what it wrote had to be rolled back. `deeds`: what it did to its
    transaction."""

    def __init__(self, function: str, deeds: Iterable[str]) -> None:
        self.function, self.deeds = function, tuple(deeds)
        super().__init__(
            f"{function}() {' and '.join(self.deeds)}. What it wrote there was rolled back. Use "
            "transaction.atomic(), and catch errors of the database outside of it."
        )


class WrongUrlFunction(FunctionError):
    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name}() has a url, so the executor 'http' runs it, outside of any transaction: "
            "leave out executor and transactional."
        )


class RunsElsewhere(FunctionError):
    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        super().__init__(
            f"{name}() runs at {url} and has no body here: only workflows call it. In a test, put "
            "another function in its place, for example with unittest.mock.patch."
        )


class NoCurrentCall(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "current_call() works inside a registered function while a workflow's call runs it."
        )


class CallCancelled(DurableMontyError):
    """Raised by `CallContext.check_cancelled`: nobody waits for this call any more."""


# --- values ---


class UnstorableValue(DurableMontyError, ValueError):
    """A value cannot be written to the journal. `path` leads to the offending part."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")


class CorruptValue(DurableMontyError, ValueError):
    """Stored text is not what `codec.encode` writes."""


# --- starting and reading executions ---


class InvalidWorkflow(DurableMontyError, ValueError):
    """The source, its functions or its inputs cannot be started.

    `complaints`: what `OrchestratorService.check` says of the source, if that is the reason.
    """

    complaints: tuple[Any, ...] = ()


class WrongSource(InvalidWorkflow):
    """The source can only fail; `complaints` say where and what to write instead."""

    def __init__(self, complaints: Iterable[Any]) -> None:
        self.complaints = tuple(complaints)
        lines = ["The workflow cannot work.", *map(str, self.complaints[:_SHOWN])]
        if len(self.complaints) > _SHOWN:
            lines.append(f"And {len(self.complaints) - _SHOWN} more.")
        super().__init__("\n".join(lines))


class InvalidDuration(DurableMontyError, ValueError):
    def __init__(self, what: str, value: object) -> None:
        self.what, self.value = what, value
        super().__init__(f"{what} must be from 0 to {LONGEST_TEXT}, not {value!r}.")


class InvalidInputs(InvalidWorkflow):
    """The inputs are no variables for that source and those functions."""


class ExecutionNotFound(DurableMontyError, LookupError):
    def __init__(self, execution_id: object) -> None:
        self.execution_id = execution_id
        super().__init__(f"There is no execution {execution_id}.")


class KeyConflict(DurableMontyError):
    def __init__(self, key: str, execution_id: object, differing: Iterable[str]) -> None:
        self.key, self.execution_id, self.differing = key, execution_id, tuple(differing)
        super().__init__(
            f"The key {key!r} already belongs to execution {execution_id}, which differs in "
            f"{' and '.join(self.differing)}. Use another key, or start it with the same "
            f"{' and '.join(self.differing)}."
        )


class ExecutionNotCompleted(DurableMontyError):
    def __init__(self, execution_id: object, status: str, error: str = "") -> None:
        self.execution_id, self.status, self.error = execution_id, status, error
        super().__init__(
            f"Execution {execution_id} has no result: its status is {status}"
            + (f" ({error})." if error else ".")
        )


class WaitTimeout(DurableMontyError, TimeoutError):
    def __init__(self, execution_id: object, status: str, seconds: float) -> None:
        self.execution_id, self.status, self.seconds = execution_id, status, seconds
        super().__init__(
            f"Execution {execution_id} was still {status} after {seconds:g} seconds. "
            "Is a worker running (manage.py runworker)?"
        )


# --- transitions ---


class IllegalTransition(DurableMontyError):
    """A row was not in a state that allows the change; nothing was changed.

    `function`: that of the call, where it is known.
    """

    function = ""


class ExecutionFinished(IllegalTransition):
    def __init__(self, execution_id: object, status: str, wanted: str) -> None:
        self.execution_id, self.status, self.wanted = execution_id, status, wanted
        super().__init__(
            f"Execution {execution_id} is already {status}; it cannot become {wanted}."
        )


class ExecutionNotPaused(IllegalTransition):
    def __init__(self, execution_id: object, status: str) -> None:
        self.execution_id, self.status = execution_id, status
        super().__init__(f"Execution {execution_id} is {status}, not paused: nothing to resume.")


class ExecutionNotFailed(IllegalTransition):
    def __init__(self, execution_id: object, status: str) -> None:
        self.execution_id, self.status = execution_id, status
        super().__init__(
            f"Execution {execution_id} is {status}, not failed: there is nothing to resolve."
        )


class ExecutionNotResolved(IllegalTransition):
    def __init__(self, execution_id: object) -> None:
        self.execution_id = execution_id
        super().__init__(
            f"Execution {execution_id} was not resolved by hand: there is nothing to take back."
        )


class TurnNotForkable(IllegalTransition):
    def __init__(self, execution_id: object, turn: int, why: str) -> None:
        self.execution_id, self.turn, self.why = execution_id, turn, why
        super().__init__(
            f"Execution {execution_id} cannot be forked after turn {turn}: {why}. "
            "Nothing was changed."
        )


class NothingToRetry(IllegalTransition):
    def __init__(self, execution_id: object, status: str, why: str) -> None:
        self.execution_id, self.status, self.why = execution_id, status, why
        super().__init__(f"Execution {execution_id} is {status}, and there is {why}.")


class CallNotWaiting(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int, status: str) -> None:
        self.execution_id, self.call_id, self.status = execution_id, call_id, status
        super().__init__(
            f"Call {call_id} of execution {execution_id} is {status}, and does not wait for a "
            "retry. Nothing was changed."
        )


class CallNotFound(DurableMontyError, LookupError):
    def __init__(self, execution_id: object, call_id: object) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(f"Execution {execution_id} has no call {call_id}.")


class CallSettled(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int, status: str, wanted: str) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        self.status, self.wanted = status, wanted
        super().__init__(
            f"Call {call_id} of execution {execution_id} is already {status}; "
            f"it cannot become {wanted}. Nothing was changed."
        )


class JobNotFound(DurableMontyError, LookupError):
    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"No call has the job {job_id[:200]!r}.")


class JobLost(DurableMontyError, LookupError):
    """Raised by an executor whose job began and will come to no end: its process died."""

    def __init__(self, job_id: str, why: str) -> None:
        self.job_id = job_id
        super().__init__(f"The job {job_id} is lost: {why}")


class LeaseLost(IllegalTransition):
    def __init__(self, execution_id: object, call_id: int) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(
            f"This attempt no longer holds call {call_id} of execution {execution_id}: it timed "
            "out, or another has begun. Its answer was refused."
        )


# --- requests to other services ---


class UrlNotAllowed(NonRetryable, ValueError):
    def __init__(self, url: str, why: str) -> None:
        self.url, self.why = url, why
        super().__init__(f"The URL {url[:200]!r} is not allowed: {why}")


class UrlMissing(NonRetryable):
    def __init__(self, function: str) -> None:
        self.function = function
        super().__init__(
            f"There is no URL for {function}(). Register it with url='https://...', or give the "
            "executor 'http' the option urls or base_url."
        )


class CallbackMissing(NonRetryable):
    def __init__(self, function: str, executor: str) -> None:
        self.function, self.executor = function, executor
        super().__init__(
            f"{function}() was accepted, to be answered later, and nothing was told where. Give "
            f"the executor {executor!r} the option callback_base_url."
        )


class RequestTooLarge(NonRetryable):
    def __init__(self, function: str, size: int, limit: int) -> None:
        self.function, self.size, self.limit = function, size, limit
        super().__init__(
            f"The request for {function}() has {size:,} bytes; at most {limit:,} can be sent. "
            "Hand over where the data is, instead of the data."
        )


# --- the sandbox ---


class ReplayMismatch(DurableMontyError):
    """The source, run again on its journal, did something else than it did before."""

    def __init__(self, turn: int, call_id: int | None, recorded: str, replayed: str) -> None:
        self.turn, self.call_id = turn, call_id
        self.recorded, self.replayed = recorded, replayed
        place = f"turn {turn}" + ("" if call_id is None else f", call {call_id}")
        super().__init__(
            f"Replay differs from the journal at {place}: recorded {recorded}, "
            f"replayed {replayed}."
        )


class SnapshotUnusable(DurableMontyError):
    """A snapshot cannot be loaded. Never fatal: the execution is rebuilt from its journal."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The snapshot cannot be used: {why}.")


class HostFault(DurableMontyError):
    """The sandbox process failed, not the workflow (a crash, a limit, a protocol error)."""


# --- workers ---


class DatabaseNotMigrated(DurableMontyError):
    def __init__(self, using: str, missing: Iterable[Any]) -> None:
        self.using, self.missing = using, tuple(missing)
        option = "" if using == "default" else f" --database={using}"
        super().__init__(
            f"The database {using!r} is not migrated ({', '.join(map(str, self.missing))}). "
            f"Run: manage.py migrate{option}"
        )


class ExecutorUnavailable(DurableMontyError):
    """Raised by an executor whose engine cannot be reached now: the call is submitted again."""

    def __init__(self, executor: str, why: object) -> None:
        self.executor = executor
        super().__init__(f"The executor {executor!r} cannot reach its engine: {why}")


class JobsVanished(DurableMontyError):
    """An engine lost several jobs of one call before any of them began."""

    def __init__(self, count: int, task: str, queue: str) -> None:
        self.count, self.task, self.queue = count, task, queue
        super().__init__(
            f"The engine lost {count} jobs of this call before they began. Do the workers of the "
            f"queue {queue!r} have the task {task!r}?"
        )


class ClusterNotStarted(DurableMontyError):
    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"The django-q2 cluster did not start: {why}.")


# --- the HTTP API ---


class NotAuthenticated(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "Nobody is logged in, and no key was sent. Send “Authorization: Bearer KEY”, with a "
            "key that was made in the admin."
        )


class InvalidKey(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "The key is unknown, revoked or expired, or its user may not log in any more. Make "
            "another one in the admin."
        )


class CsrfRefused(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "The CSRF token is missing or wrong. A request of a session sends it as X-CSRFToken; "
            "a request with a key needs none."
        )


class NotPermitted(DurableMontyError):
    def __init__(self, scope: str, permissions: Iterable[str]) -> None:
        self.scope, self.permissions = scope, tuple(permissions)
        super().__init__(
            f"This needs the permissions {', '.join(self.permissions)}, and of a key the scope "
            f"{scope!r} too."
        )


class BodyTooLarge(DurableMontyError):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"The request's body is larger than {limit:,} bytes. "
            "DURABLE_MONTY['MAX_VALUE_BYTES'], ['MAX_SOURCE_BYTES'] and Django's "
            "DATA_UPLOAD_MAX_MEMORY_SIZE say what is allowed."
        )


class WrongContentType(DurableMontyError):
    def __init__(self, given: str) -> None:
        self.given = given
        super().__init__(
            f"The request's body must be application/json, in UTF-8, not {given[:100]!r}."
        )


class BodyNotJson(DurableMontyError):
    def __init__(self, why: object) -> None:
        self.why = why
        super().__init__(f"The request's body is not JSON: {why}.")


class InvalidValue(DurableMontyError, ValueError):
    """A value in a request is not what `codec.encode` writes. `path` leads to it."""

    def __init__(self, path: str, why: object) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}")


class InvalidCursor(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("The cursor was not made here. Use the next_cursor of the page before.")


class WrongCursor(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "The cursor belongs to another list, or to other filters. Begin without a cursor."
        )


class NoWorkerAlive(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("No worker is alive. Start one with “manage.py runworker”.")


# --- webhooks ---


class InvalidToken(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("The token was not made here, or not with the present SECRET_KEY.")


class TokenExpired(DurableMontyError):
    def __init__(self) -> None:
        super().__init__("The time in which this token could be used is over.")


class InvalidSecret(DurableMontyError):
    def __init__(self) -> None:
        super().__init__(
            "Show the webhook secret of an executor: as a bearer token in the header "
            "Authorization, or by a signature that was made just now."
        )


class TooManyRefusals(DurableMontyError):
    """`seconds`: after which the source may try again."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(
            "Too many requests with a wrong token or secret came from this address. Try again in "
            f"{seconds} seconds."
        )


class CallNotStarted(DurableMontyError):
    def __init__(self, execution_id: object, call_id: int) -> None:
        self.execution_id, self.call_id = execution_id, call_id
        super().__init__(
            f"Call {call_id} of execution {execution_id} has not been submitted, so no attempt is "
            "there to be answered. Only calls with executor='manual' have a URL before that."
        )


# --- the client of the HTTP API ---


class RequestRefused(DurableMontyError):
    """The server refused a request, with a `code` that has no exception of its own."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status, self.http_status, self.code, self.text = status, status, code, text
        super().__init__(f"{text} (HTTP {status}, {code})")


class ApiUnreachable(DurableMontyError, ConnectionError):
    """No response came. Whether the server got the request is not known."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"The server did not answer {path}: {why}")

"""Builds the requests of the API, once for both clients.

The docstrings are also those of the methods of the clients.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from durable_monty import codec
from durable_monty.client import answers

T = TypeVar("T")
Id = str | uuid.UUID
OnConflict = Literal["raise", "return"]


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """Describes a request. `read` makes the answer of the JSON that comes back.

    A request with `may_repeat` has the same effect when it is sent twice.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    may_repeat: bool = False


def start(
    code: str,
    functions: Iterable[str] = (),
    inputs: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    name: str = "",
    label: str = "",
    deadline: timedelta | None = None,
    on_conflict: OnConflict = "raise",
) -> Request[str]:
    """Starts a workflow, and returns the id of its execution.

    Without a `key` the request is not sent again if the connection breaks, because the workflow
    might be started twice.
    """
    body = {
        "code": code,
        "functions": list(functions),
        "inputs": _value(dict(inputs or {}), "inputs"),
        "key": key,
        "name": name,
        "label": label,
        "deadline": None if deadline is None else deadline.total_seconds(),
        "on_conflict": on_conflict,
    }
    return Request("POST", "/executions", _id, body, may_repeat=key is not None)


def check(
    code: str, functions: Iterable[str] = (), inputs: Mapping[str, Any] | None = None
) -> Request[list[answers.Complaint]]:
    """Returns everything that is wrong with a source. Nothing is stored or run."""
    body = {
        "code": code,
        "functions": list(functions),
        "inputs": _value(dict(inputs or {}), "inputs"),
    }
    return Request(
        "POST",
        "/check",
        lambda found: answers.read_all(answers.Complaint, found["complaints"]),
        body,
        may_repeat=True,
    )


def poll(execution_id: Id) -> Request[answers.Execution]:
    """Returns an execution and its first calls without an answer."""
    return _get(_path_of(execution_id), lambda found: answers.read(answers.Execution, found))


def export(execution_id: Id) -> Request[dict[str, Any]]:
    """Returns an execution with its whole journal."""
    return _get(f"{_path_of(execution_id)}/export", dict)


def functions() -> Request[list[answers.Function]]:
    """Returns the functions that workflows of this key may call."""
    return _get("/functions", lambda found: answers.read_all(answers.Function, found["items"]))


def executions(
    *,
    status: str | None = None,
    name: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    page_size: int = 50,
) -> Request[list[answers.ExecutionRow]]:
    """Yields executions, the newest first. `since` is included, `until` is not."""
    query = _filters(status=status, name=name, key=key, since=since, until=until)
    return Request(
        "GET",
        "/executions",
        lambda found: answers.read_all(answers.ExecutionRow, found["items"]),
        query=query | {"limit": str(page_size)},
        may_repeat=True,
    )


def calls(
    execution_id: Id, *, status: str | None = None, page_size: int = 50
) -> Request[list[answers.Call]]:
    """Yields the calls of an execution in their order."""
    return Request(
        "GET",
        f"{_path_of(execution_id)}/calls",
        lambda found: answers.read_all(answers.Call, found["items"]),
        query=_filters(status=status) | {"limit": str(page_size)},
        may_repeat=True,
    )


def complete(execution_id: Id, call_id: int, result: Any, *, reason: str = "") -> Request[None]:
    """Answers a call with a result, once."""
    body = {"result": _value(result, "result"), "reason": reason}
    return Request("POST", f"{_path_of(execution_id)}/calls/{call_id}/complete", _nothing, body)


def fail(
    execution_id: Id, call_id: int, error: BaseException | str, *, reason: str = ""
) -> Request[None]:
    """Answers a call with an exception, which is raised where the workflow awaits the call.

    A string is the message of a RuntimeError.
    """
    kind = "RuntimeError" if isinstance(error, str) else type(error).__name__
    body = {"error": str(error), "error_type": kind, "reason": reason}
    return Request("POST", f"{_path_of(execution_id)}/calls/{call_id}/fail", _nothing, body)


def retry_call(execution_id: Id, call_id: int, *, reason: str = "") -> Request[None]:
    """Makes the next attempt of a call due now."""
    path = f"{_path_of(execution_id)}/calls/{call_id}/retry"
    return Request("POST", path, _nothing, {"reason": reason})


def cancel(execution_id: Id, *, reason: str = "", grace: float | None = None) -> Request[None]:
    """Asks an execution to end. It may clean up for `grace` seconds."""
    return _verb(execution_id, "cancel", reason, grace=grace)


def terminate(execution_id: Id, *, reason: str = "") -> Request[None]:
    """Ends an execution at once. It cannot clean up."""
    return _verb(execution_id, "terminate", reason)


def pause(execution_id: Id, *, reason: str = "") -> Request[None]:
    """Stops an execution from advancing until it is resumed."""
    return _verb(execution_id, "pause", reason)


def resume(execution_id: Id, *, reason: str = "") -> Request[None]:
    """Lets workers continue a paused execution."""
    return _verb(execution_id, "resume", reason)


def resolve(execution_id: Id, *, reason: str) -> Request[None]:
    """Marks a failed execution as handled. It leaves the list of failures."""
    return _verb(execution_id, "resolve", reason)


def retry(
    execution_id: Id, *, key: str | None = None, keep_keys: bool = True, reason: str = ""
) -> Request[str]:
    """Retries failed calls, and returns the id of the execution that continues.

    It is a new execution if this one had failed.
    """
    body = {"key": key, "keep_keys": keep_keys, "reason": reason}
    path = f"{_path_of(execution_id)}/retry"
    return Request("POST", path, _id, body, may_repeat=key is not None)


def fork(
    execution_id: Id,
    turn: int,
    *,
    code: str | None = None,
    functions: Iterable[str] | None = None,
    answers: Mapping[int, Any] | None = None,
    ask_again: Iterable[int] = (),
    key: str | None = None,
    name: str | None = None,
    on_conflict: OnConflict = "raise",
    keep_keys: bool = False,
    reason: str = "",
) -> Request[str]:
    """Starts an execution that continues from a turn of this one, and returns its id.

    Turn 0 starts from the beginning. `answers` maps call ids to other results or exceptions.
    """
    body = {
        "turn": turn,
        "code": code,
        "functions": None if functions is None else list(functions),
        "answers": [
            {"call_id": call_id, "error": str(value)}
            if isinstance(value, BaseException)
            else {"call_id": call_id, "result": _value(value, f"answers[{call_id}]")}
            for call_id, value in (answers or {}).items()
        ],
        "ask_again": list(ask_again),
        "key": key,
        "name": name,
        "on_conflict": on_conflict,
        "keep_keys": keep_keys,
        "reason": reason,
    }
    path = f"{_path_of(execution_id)}/fork"
    return Request("POST", path, _id, body, may_repeat=key is not None)


def execution_events(execution_id: Id) -> Request[Any]:
    """Opens the stream of events of an execution."""
    return _get(f"{_path_of(execution_id)}/events", lambda found: found)


def list_events(
    *,
    status: str | None = None,
    name: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request[Any]:
    """Opens the stream of events of a list of executions."""
    query = _filters(status=status, name=name, key=key, since=since, until=until)
    return Request("GET", "/executions/events", lambda found: found, query=query, may_repeat=True)


def with_next(request: Request[T]) -> Request[tuple[T, Request[T] | None]]:
    """Returns a request whose answer is a page and the request of the next page, if any."""

    def read(found: Any) -> tuple[T, Request[T] | None]:
        cursor = found["next_cursor"]
        following = None
        if cursor is not None:
            following = replace(request, query={**request.query, "cursor": cursor})
        return request.read(found), following

    return Request(
        request.method, request.path, read, query=request.query, may_repeat=request.may_repeat
    )


def _get(path: str, read: Callable[[Any], T]) -> Request[T]:
    return Request("GET", path, read, may_repeat=True)


def _verb(execution_id: Id, verb: str, reason: str, **facts: Any) -> Request[None]:
    return Request(
        "POST", f"{_path_of(execution_id)}/{verb}", _nothing, {"reason": reason, **facts}
    )


def _path_of(execution_id: Id) -> str:
    """Returns the path of an execution. Raises ValueError for anything that is not a UUID."""
    # Another text could lead to another path.
    return f"/executions/{uuid.UUID(str(execution_id))}"


def _value(value: Any, path: str) -> Any:
    return json.loads(codec.encode(value, path=path))


def _filters(**given: str | datetime | None) -> dict[str, str]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
        if value is not None
    }


def _id(found: Any) -> str:
    return str(found["execution_id"])


def _nothing(found: Any) -> None:
    return None

"""The results of tasks: found in the result backend, or told by it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from celery import Celery, states
from celery.backends.base import Backend, BaseKeyValueStoreBackend, DisabledBackend
from celery.backends.rpc import RPCBackend
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.crypto import salted_hmac
from kombu import Consumer, Exchange, Queue

from durable_monty.executors.base import JobStatus
from durable_monty.executors.celery.connections import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    open_connection,
    reaching,
)
from durable_monty.executors.tracebacks import describe_traceback
from durable_monty.loop_errors import LoopErrors

Meta = dict[str, Any]
"""What a worker stores of a task: `status`, `result`, `traceback`."""
Tell = Callable[[str, Meta], None]

# Seconds: how long a listening thread waits before it looks whether it has to stop, ...
_TICK = 0.5
# ... how often RabbitMQ and it tell each other that they are there, ...
_HEARTBEAT = 10
# ... and until RabbitMQ deletes a queue of results for which nobody listens.
_UNUSED = 24 * 3600


class Results:
    """A result backend that is asked by task id: any that Celery has."""

    reply_to = ""
    """The queue to which workers send results, for a backend that needs one."""
    tells = False
    """Whether `listen` hears of results."""

    def __init__(self, app: Celery, backend: Backend) -> None:
        self.app, self.backend = app, backend

    def find(self, job_id: str) -> Meta | None:
        """Returns what is known of a task. Raises `ExecutorUnavailable`."""
        with reaching((Exception,)):
            if isinstance(self.backend, BaseKeyValueStoreBackend):
                return self._decoded(self._get(self.backend.get_key_for_task(job_id)))
            meta: Meta = self.backend.get_task_meta(job_id, cache=False)
        if isinstance(meta.get("result"), BaseException):
            meta = {**meta, "result": self.backend.prepare_exception(meta["result"], "json")}
        return meta

    def forget(self, job_id: str) -> None:
        """Deletes what is known of a task."""
        with reaching((Exception,)):
            self.backend.forget(job_id)

    def listen(self, tell: Tell, stopping: threading.Event) -> None:
        """Calls `tell` with each result that comes, until `stopping` is set. Raises what the
        connection raises."""

    def _get(self, key: Any) -> Any:
        return self.backend.get(key)

    def _decoded(self, payload: Any) -> Meta | None:
        return None if payload is None else self.backend.decode(payload)


class RedisResults(Results):
    """Redis publishes each result on a channel that is named as its key."""

    tells = True

    def __init__(self, app: Celery, backend: Backend) -> None:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        super().__init__(app, backend)
        limits = {
            "socket_timeout": ANSWER_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "retry": Retry(NoBackoff(), 1),
        }
        # With the address, credentials and certificates of the backend, which may be a Sentinel.
        self._client = backend._create_client(**{**backend.connparams, **limits})

    def listen(self, tell: Tell, stopping: threading.Event) -> None:
        with closing(self._client.pubsub(ignore_subscribe_messages=True)) as pubsub:
            pubsub.psubscribe(self._pattern())
            while not stopping.is_set():
                message = pubsub.get_message(timeout=_TICK)
                if message is not None and (meta := self._decoded(message["data"])):
                    tell(str(meta["task_id"]), meta)

    def forget(self, job_id: str) -> None:
        with reaching((Exception,)):
            self._client.delete(self.backend.get_key_for_task(job_id))

    def _get(self, key: Any) -> Any:
        return self._client.get(key)

    def _pattern(self) -> str:
        """The channels of our jobs' ids, and of no other tasks: Celery's ids are UUIDs."""
        key = self.backend.get_key_for_task("-")
        text = key.decode() if isinstance(key, bytes) else key
        prefix = re.sub(r"([*?\[\]\\])", r"\\\1", text.removesuffix("-"))
        return f"{prefix}[0-9]*-{32 * '?'}"


class ReplyResults(Results):
    """The backend `rpc`: workers send results to the queue `reply_to`, where all workers of the
    project take them, also after a restart."""

    tells = True

    def __init__(self, app: Celery, backend: Backend, using: str) -> None:
        super().__init__(app, backend)
        # Projects that share a broker must not take each other's results.
        name = f"{using} {connections[using].settings_dict['NAME']}"
        self.reply_to = f"durable_monty.results.{salted_hmac(__name__, name).hexdigest()[:12]}"

    def find(self, job_id: str) -> Meta | None:
        return None

    def forget(self, job_id: str) -> None:
        """A result is a message, which is gone when it is taken."""

    def listen(self, tell: Tell, stopping: threading.Event) -> None:
        def received(meta: Any, message: Any) -> None:
            if isinstance(meta, dict) and "status" in meta:
                tell(str(message.properties.get("correlation_id") or meta.get("task_id")), meta)
            message.ack()

        queue = Queue(self.reply_to, Exchange(""), self.reply_to, durable=True, expires=_UNUSED)
        with (
            closing(open_connection(self.app, heartbeat=_HEARTBEAT)) as connection,
            Consumer(
                connection,
                queues=[queue],
                callbacks=[received],
                accept=["json"],
                prefetch_count=100,
            ),
        ):
            while not stopping.is_set():
                try:
                    connection.drain_events(timeout=_TICK)
                except TimeoutError:
                    if connection.supports_heartbeats:
                        connection.heartbeat_check()


def results_of(app: Celery, using: str) -> Results | None:
    """Returns the app's results; None if it keeps none."""
    backend = app.backend
    if isinstance(backend, DisabledBackend):
        return None
    if app.conf.result_serializer != "json":
        raise ImproperlyConfigured(
            f"result_serializer is {app.conf.result_serializer!r}: durable_monty reads results "
            "from JSON only."
        )
    if isinstance(backend, RPCBackend):
        return ReplyResults(app, backend, using)
    if hasattr(backend, "connparams"):
        return RedisResults(app, backend)
    return Results(app, backend)


class Listener:
    """A thread that hears of results, and connects again when the connection is lost."""

    def __init__(self, results: Results, tell: Tell, using: str) -> None:
        self._results, self._tell, self._using = results, tell, using
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="durable_monty-celery-results", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        errors = LoopErrors("Listening for Celery's results", self._using)
        while not self._stopping.is_set():
            try:
                self._results.listen(self._tell, self._stopping)
            except Exception as exc:  # noqa: BLE001  (noted)
                self._stopping.wait(errors.note(exc))


def is_end(meta: Meta) -> bool:
    return meta["status"] in states.READY_STATES


def is_lost(meta: Meta) -> bool:
    """Whether the process that ran the function was killed, or could not store its result."""
    if meta["status"] != states.FAILURE or (name := _type_of(meta)) == "EncodeError":
        return False
    # Celery stores the error of its own backend as the task's, unless the setting
    # result_backend_always_retry is on.
    return name == "WorkerLostError" or ", in mark_as_done\n" in (meta.get("traceback") or "")


def job_status(meta: Meta, function: str) -> JobStatus:
    """Translates the end of a task, as a worker has stored it."""
    if meta["status"] == states.SUCCESS:
        return {"status": "finished", "result": meta["result"]}
    if meta["status"] == states.REVOKED:
        return _failed("RuntimeError", "The task was revoked in Celery.", is_final=True)
    message, text = _message_of(meta), meta.get("traceback") or ""
    match name := _type_of(meta):
        case "EncodeError":
            why = f"{function}() returned what cannot be stored: {message}"
            return _failed("TypeError", why, text, is_final=True)
        case "NotRegistered":
            why = (
                f"Celery's workers have no task {message!r}. Name the task as the function's "
                "dotted path, and have the workers import its module."
            )
            return _failed("RuntimeError", why)
        case "TimeLimitExceeded" | "SoftTimeLimitExceeded":
            return _failed("TimeoutError", f"{function}() overran its time limit in Celery.", text)
    module = meta["result"].get("exc_module") if isinstance(meta["result"], dict) else None
    return _failed(name if module in (None, "builtins") else f"{module}.{name}", message, text)


def _failed(
    error_type: str, message: str, traceback: str = "", *, is_final: bool = False
) -> JobStatus:
    return {
        "status": "failed",
        "error_type": error_type,
        "error": message,
        "traceback": traceback,
        "is_final": is_final,
    }


def _type_of(meta: Meta) -> str:
    error = meta["result"]
    name = error.get("exc_type") if isinstance(error, dict) else None
    return str(name or "RuntimeError").rpartition(".")[2]


def _message_of(meta: Meta) -> str:
    """The text of the exception: from its traceback, or made of its arguments."""
    described = describe_traceback(meta.get("traceback") or "")
    if described is not None and described.error_type.rpartition(".")[2] == _type_of(meta):
        return described.message
    error = meta["result"]
    given = error.get("exc_message", "") if isinstance(error, dict) else error
    if isinstance(given, list | tuple):
        return str(given[0]) if len(given) == 1 else ", ".join(map(str, given))
    return str(given)

"""Reads the results of tasks from result backends, and listens for them."""

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

from durable_monty.executors.base import JobStatus, failed_job
from durable_monty.executors.celery.connections import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    open_connection,
)
from durable_monty.executors.remote import reaching
from durable_monty.executors.result_mode import describe_traceback
from durable_monty.loop_errors import LoopErrors

Meta = dict[str, Any]
"""The facts that a worker stores about a task: `status`, `result` and `traceback`."""
Receive = Callable[[str, Meta], None]

# Seconds for which a listening thread waits before it checks whether it has to stop.
_TICK = 0.5
# Seconds between heartbeats on the connection to RabbitMQ.
_HEARTBEAT = 10
# Seconds until RabbitMQ deletes a queue of results that nobody reads.
_UNUSED = 24 * 3600


class Results:
    """Any result backend of Celery. It finds results by the id of their task."""

    reply_to = ""
    """The queue to which workers send results, for a backend that needs one."""
    notifies = False
    """Whether `listen` receives results."""

    def __init__(self, app: Celery, backend: Backend) -> None:
        self.app, self.backend = app, backend

    def find(self, job_id: str) -> Meta | None:
        """Returns the stored facts about a task. Raises `ExecutorUnavailable`."""
        with reaching("celery", Exception):
            if isinstance(self.backend, BaseKeyValueStoreBackend):
                return self.decode(self.backend.get(self.backend.get_key_for_task(job_id)))
            meta: Meta = self.backend.get_task_meta(job_id, cache=False)
        if isinstance(meta.get("result"), BaseException):
            meta = {**meta, "result": self.backend.prepare_exception(meta["result"], "json")}
        return meta

    def forget(self, job_id: str) -> None:
        """Deletes the stored facts about a task."""
        with reaching("celery", Exception):
            self.backend.forget(job_id)

    def listen(self, receive: Receive, stopping: threading.Event) -> None:
        """Passes each new result to `receive`, until `stopping` is set. Raises the errors of the
        connection."""

    def decode(self, payload: Any) -> Meta | None:
        return None if payload is None else self.backend.decode(payload)


class RedisResults(Results):
    """Redis publishes each result on a channel with the name of its key."""

    notifies = True

    def __init__(self, app: Celery, backend: Backend) -> None:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        super().__init__(app, backend)
        limits = {
            "socket_timeout": ANSWER_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "retry": Retry(NoBackoff(), 1),
        }
        # The backend's own client waits without limit. This one has the same address, credentials
        # and certificates; it may lead to a Sentinel.
        self._client = backend._create_client(**{**backend.connparams, **limits})

    @property
    def channels(self) -> str:
        """The pattern of the channels for our jobs."""
        key = self.backend.get_key_for_task("-")
        text = key.decode() if isinstance(key, bytes) else key
        prefix = re.sub(r"([*?\[\]\\])", r"\\\1", text.removesuffix("-"))
        # The ids of our jobs are a number, a hyphen and 32 digits. Celery's own are UUIDs.
        return f"{prefix}[0-9]*-{32 * '?'}"

    def find(self, job_id: str) -> Meta | None:
        with reaching("celery", Exception):
            return self.decode(self._client.get(self.backend.get_key_for_task(job_id)))

    def forget(self, job_id: str) -> None:
        with reaching("celery", Exception):
            self._client.delete(self.backend.get_key_for_task(job_id))

    def listen(self, receive: Receive, stopping: threading.Event) -> None:
        with closing(self._client.pubsub(ignore_subscribe_messages=True)) as pubsub:
            pubsub.psubscribe(self.channels)
            while not stopping.is_set():
                message = pubsub.get_message(timeout=_TICK)
                if message is not None and (meta := self.decode(message["data"])):
                    receive(str(meta["task_id"]), meta)


class ReplyResults(Results):
    """The backend `rpc`. Celery's workers send results to the queue `reply_to`, and any worker of
    the project takes them, also after a restart."""

    notifies = True

    def __init__(self, app: Celery, backend: Backend, using: str) -> None:
        super().__init__(app, backend)
        # Projects that share a broker must not take each other's results. The module's name is
        # part of the queue's: jobs that were sent before a deploy reply to it.
        name = f"{using} {connections[using].settings_dict['NAME']}"
        self.reply_to = f"durable_monty.results.{salted_hmac(__name__, name).hexdigest()[:12]}"

    def find(self, job_id: str) -> Meta | None:
        return None

    def forget(self, job_id: str) -> None:
        """Does nothing: a result is a message, which is gone when it is taken."""

    def listen(self, receive: Receive, stopping: threading.Event) -> None:
        def received(meta: Any, message: Any) -> None:
            if isinstance(meta, dict) and "status" in meta:
                receive(str(message.properties.get("correlation_id") or meta.get("task_id")), meta)
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
    """Returns the results of an app; None if it has no result backend."""
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
    """A thread that receives results, and connects again when the connection is lost."""

    def __init__(self, results: Results, receive: Receive, using: str) -> None:
        self._stopping = threading.Event()

        def run() -> None:
            errors = LoopErrors("Listening for Celery's results", using)
            while not self._stopping.is_set():
                try:
                    results.listen(receive, self._stopping)
                except Exception as exc:  # noqa: BLE001  (noted)
                    self._stopping.wait(errors.note(exc))

        self._thread = threading.Thread(
            target=run, name="durable_monty-celery-results", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self._thread.join(timeout)


def is_end(meta: Meta) -> bool:
    return meta["status"] in states.READY_STATES


def is_lost(meta: Meta) -> bool:
    """Returns whether the function's process was killed, or could not store the result."""
    if meta["status"] != states.FAILURE or (name := _type_of(meta)) == "EncodeError":
        return False
    # Celery stores an error of its result backend as the task's own, unless the setting
    # result_backend_always_retry is on.
    return name == "WorkerLostError" or ", in mark_as_done\n" in (meta.get("traceback") or "")


def job_status(meta: Meta, function: str) -> JobStatus:
    """Returns how a job ended, from the facts that a worker stored."""
    if meta["status"] == states.SUCCESS:
        return {"status": "finished", "result": meta["result"]}
    if meta["status"] == states.REVOKED:
        return failed_job("RuntimeError", "The task was revoked in Celery.", is_final=True)
    message, text = _message_of(meta), meta.get("traceback") or ""
    match name := _type_of(meta):
        case "EncodeError":
            why = f"{function}() returned what cannot be stored: {message}"
            return failed_job("TypeError", why, text, is_final=True)
        case "NotRegistered":
            why = (
                f"Celery's workers have no task {message!r}. Name the task as the function's "
                "dotted path, and have the workers import its module."
            )
            return failed_job("RuntimeError", why)
        case "TimeLimitExceeded" | "SoftTimeLimitExceeded":
            why = f"{function}() overran its time limit in Celery."
            return failed_job("TimeoutError", why, text)
    module = meta["result"].get("exc_module") if isinstance(meta["result"], dict) else None
    return failed_job(name if module in (None, "builtins") else f"{module}.{name}", message, text)


def _type_of(meta: Meta) -> str:
    error = meta["result"]
    name = error.get("exc_type") if isinstance(error, dict) else None
    return str(name or "RuntimeError").rpartition(".")[2]


def _message_of(meta: Meta) -> str:
    """Returns the message of the exception."""
    # Celery stores the arguments of an exception. Only the traceback has its message.
    described = describe_traceback(meta.get("traceback") or "")
    if described is not None and described.error_type.rpartition(".")[2] == _type_of(meta):
        return described.message
    error = meta["result"]
    given = error.get("exc_message", "") if isinstance(error, dict) else error
    if isinstance(given, list | tuple):
        return str(given[0]) if len(given) == 1 else ", ".join(map(str, given))
    return str(given)

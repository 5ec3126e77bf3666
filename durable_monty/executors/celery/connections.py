"""Connections to Celery's broker. They give up within seconds: Celery's own wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError

from durable_monty.exceptions import ExecutorUnavailable
from durable_monty.executors.remote import reaching

T = TypeVar("T")

# Seconds.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 2.0, 5.0
# Seconds for which Celery's workers may answer a broadcast. They do not say how many they are.
_BROADCAST_TIMEOUT = 1.0


def open_connection(app: Celery, *, heartbeat: float = 0) -> Connection:
    """Returns a connection that connects when it is first used. It tries each address of the
    broker once, and one of them twice."""
    # Redis and RabbitMQ name the limits differently. Each ignores the names of the other.
    limits = {
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.2,
        # RabbitMQ: a message counts as sent when the broker has confirmed it.
        "confirm_publish": True,
        "read_timeout": ANSWER_TIMEOUT,
        "write_timeout": ANSWER_TIMEOUT,
        # Redis
        "socket_timeout": ANSWER_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry_on_timeout": False,
    }
    connection: Connection = app.connection_for_write(
        connect_timeout=CONNECT_TIMEOUT,
        heartbeat=heartbeat,
        transport_options={**app.conf.broker_transport_options, **limits},
    )
    connection.transport_options["max_retries"] = max(1, len(connection.alt))
    return connection


class Broker:
    """A connection to the broker, for one thread at a time."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def use(self, action: Callable[[Connection], T]) -> T:
        """Calls `action` with the connection. If that is broken, as after a restart of the broker,
        calls it again with a new one. Raises `ExecutorUnavailable`."""
        with self._lock:
            if self._connection is not None:
                with suppress(ExecutorUnavailable):
                    return self._try(action, self._connection)
            self._connection = open_connection(self._app)
            return self._try(action, self._connection)

    def send_task(
        self,
        job_id: str,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        queue: str = "",
        **options: Any,
    ) -> str:
        """Sends the message of a task and returns the name of its queue."""
        # `Celery.send_task` would also subscribe to the result, on a connection that nobody reads.
        amqp = self._app.amqp
        route = self._route(name, queue)
        message = amqp.create_task_message(job_id, name, args, kwargs, **options)

        def send(connection: Connection) -> None:
            producer = amqp.Producer(connection, auto_declare=False)
            amqp.send_task_message(
                producer, name, message, serializer="json", retry=False, **route
            )

        self.use(send)
        return self._queue_name(route)

    def queue_of(self, task: str) -> str:
        return self._queue_name(self._route(task, ""))

    def length(self, queue: str) -> int:
        """Returns how many messages wait in a queue."""

        def count(connection: Connection) -> int:
            with connection.channel() as channel:
                try:
                    return int(channel.queue_declare(queue, passive=True).message_count)
                except connection.channel_errors as exc:
                    # Redis has no empty queues.
                    if str(getattr(exc, "reply_code", "")) == "404":
                        return 0
                    raise

        return self.use(count)

    def in_workers(self, job_ids: Collection[str]) -> set[str]:
        """Returns the jobs that Celery's workers run or have reserved."""

        def query(connection: Connection) -> set[str]:
            control = self._app.control
            inspect = control.inspect(timeout=_BROADCAST_TIMEOUT, connection=connection)
            answers = inspect.query_task(*job_ids) or {}
            return {job_id for jobs in answers.values() for job_id in jobs}

        return self.use(query)

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _route(self, name: str, queue: str) -> dict[str, Any]:
        route: dict[str, Any] = self._app.amqp.router.route(
            {"queue": queue} if queue else {}, name
        )
        return route

    def _queue_name(self, route: Mapping[str, Any]) -> str:
        queue = route.get("queue")
        return str(self._app.conf.task_default_queue if queue is None else queue.name)

    def _try(self, action: Callable[[Connection], T], connection: Connection) -> T:
        errors = (*connection.connection_errors, *connection.channel_errors)
        try:
            with reaching("celery", OperationalError, OSError, *errors):
                return action(connection)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # it may be broken already
                self._connection.collect(socket_timeout=0.1)
            self._connection = None

import os
import sys
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

from tests.engines.brokers import rabbitmq_server, redis_server
from tests.engines.conformance import Engine, environment
from tests.processes import ROOT, Program

_QUEUE = "conformance"
_CELERY = Path(sys.executable).with_name("celery")
_BROKERS = {"redis": redis_server, "rabbitmq": rabbitmq_server}
# Celery's threads change the prefetch count beside its loop, and RabbitMQ's client hangs then.
_POOLS = {"redis": "threads", "rabbitmq": "prefork"}


class CeleryEngine(Engine):
    """A Celery worker of four threads or processes, on a broker of its own. In the mode "result"
    it knows nothing of Django."""

    executor = "celery"
    extra = "celery"
    # A revoked job is skipped by the workers that were there then; it stays in the queue.
    can_revoke = False

    def __init__(self, broker, mode, *, pool="", concurrency=4):
        self.name, self.mode = f"celery-{broker}-{mode}", mode
        self._kind, self._pool, self._concurrency = broker, pool or _POOLS[broker], concurrency
        self._frame = self.broker = self.process = None

    def options(self):
        options = {"broker": self.broker.url, "queue": _QUEUE, "mode": self.mode, "poll": 1.0}
        return options if self.mode == "django" else {**options, "backend": self._backend()}

    def _backend(self):
        return self.broker.url if self._kind == "redis" else "rpc://"

    def start(self, directory):
        self._directory = directory
        self._frame = _BROKERS[self._kind](directory / "broker")
        self.broker = self._frame.__enter__()
        self.start_workers()

    def stop(self):
        self.kill_workers()
        if self._frame is not None:
            self._frame.__exit__(None, None, None)

    def reset(self):
        self.start_broker()
        self.forget_jobs()
        self.start_workers()

    def start_workers(self):
        if self.process is not None and self.process.popen.poll() is None:
            return
        log = self._directory / f"celery-{len(list(self._directory.glob('*.log')))}.log"
        has_django = self.mode == "django"
        self.process = Program(
            log,
            *(_CELERY, "-A", f"tests.engines.celery_{'django' if has_django else 'plain'}"),
            *("worker", "--pool", self._pool, "--concurrency", str(self._concurrency)),
            *("--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            env={
                **(environment() if has_django else {"DJANGO_SETTINGS_MODULE": ""}),
                "PYTHONPATH": str(ROOT),
                "CELERY_BROKER": self.broker.url,
                "CELERY_BACKEND": self._backend(),
                "CELERY_QUEUE": _QUEUE,
            },
        )
        self.process.until_logged(" ready.")

    def stop_workers(self):
        self.process.popen.terminate()
        with suppress(TimeoutExpired):  # a function may run on, for which nobody waits
            self.process.popen.wait(2)
        self.kill_workers()

    def kill_workers(self):
        if self.process is not None:
            self.process.end()
            self.process = None

    def stop_broker(self):
        self.broker.stop()

    def start_broker(self):
        if self.broker.process is None:
            self.broker.start()

    def waiting_jobs(self):
        with self._connection() as connection:
            messages = []
            while (message := self._queue(connection).get(no_ack=False)) is not None:
                messages.append(message)
            for message in messages:
                message.requeue()
            return [message.headers["id"] for message in messages]

    def forget_jobs(self):
        with self._connection() as connection:
            self._queue(connection).purge()

    def repeat_jobs(self):
        with self._connection() as connection:
            message = self._queue(connection).get(no_ack=False)
            assert message is not None
            connection.Producer().publish(
                message.body,
                routing_key=_QUEUE,
                headers=message.headers,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                **{
                    name: message.properties[name]
                    for name in ("correlation_id", "reply_to")
                    if name in message.properties
                },
            )
            message.requeue()

    def _connection(self):
        from kombu import Connection

        return Connection(self.broker.url)

    def _queue(self, connection):
        from kombu import Queue

        queue = Queue(_QUEUE, routing_key=_QUEUE, exchange=_QUEUE)(connection.default_channel)
        queue.declare()
        return queue


_PAIRS = [("redis", "result"), ("redis", "django"), ("rabbitmq", "result"), ("rabbitmq", "django")]
# Each takes half a minute: all of them in CI.
ENGINES = [CeleryEngine(*pair) for pair in (_PAIRS if os.environ.get("CI") else _PAIRS[:1])]

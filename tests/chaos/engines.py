"""An engine that runs the functions, with a broker of its own. Its workers are in `workers`."""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.engines.brokers import rabbitmq_server, redis_server

_ROOT = Path(__file__).resolve().parents[2]
_BIN = Path(sys.executable).parent
_QUEUE = "chaos"
_BROKERS = {"redis": redis_server, "rabbitmq": rabbitmq_server}
# Seconds for which a broker is away.
_DOWN = (0.0, 3.0)


class RQ:
    """Two RQ workers, each of which forks for each job."""

    brokers = ("redis",)
    count = 2

    def options(self, broker):
        return {"queue_name": _QUEUE, "url": broker.url}

    def environment(self, broker):
        return {}

    def command(self, broker):
        return (
            *(_BIN / "rq", "worker", _QUEUE, "--url", broker.url, "--serializer", "json"),
            *("--path", _ROOT, "--config", "durable_monty.executors.rq_worker"),
        )


class Celery:
    """Two Celery workers, each with two processes of its pool."""

    brokers = ("redis", "rabbitmq")
    count = 2

    def options(self, broker):
        return {"broker": broker.url, "queue": _QUEUE}

    def environment(self, broker):
        return {
            "PYTHONPATH": str(_ROOT),
            "CELERY_BROKER": broker.url,
            "CELERY_BACKEND": broker.url,
            "CELERY_QUEUE": _QUEUE,
        }

    def command(self, broker):
        return (
            *(_BIN / "celery", "-A", "tests.engines.celery_django", "worker"),
            *("--concurrency", "2", "--loglevel", "WARNING"),
        )


ENGINES = {"rq": RQ, "celery": Celery}


@contextmanager
def running_engine(name, broker, directory):
    """The engine of an executor with a broker of its own, or None if the executor has none."""
    if name not in ENGINES:
        yield None
        return
    kind = ENGINES[name]()
    with _BROKERS[broker or kind.brokers[0]](directory / "broker") as server:
        yield Engine(name, kind, server)


class Engine:
    """`count`: how many of its workers there are. They run `command` with `environment`."""

    def __init__(self, name, kind, broker):
        self.name, self.broker = name, broker
        self.count = kind.count
        self.options = kind.options(broker)
        self.command, self.environment = kind.command(broker), kind.environment(broker)

    def restart_broker(self, rng):
        """Stops the broker, or kills it, and starts it again. Returns which of both."""
        how = rng.choice(["stop", "kill"])
        getattr(self.broker, how)()
        time.sleep(rng.uniform(*_DOWN))
        self.broker.start()
        return {"stop": "restart", "kill": "kill -9"}[how]

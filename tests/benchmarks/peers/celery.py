"""Celery on Redis, which is not durable: a canvas of chains and chords, in two processes.

As its documentation has it for short tasks: each process takes many at a time, and workers do
not talk to each other. Results are kept, as the others keep them.
"""

import os

from celery import Celery, chain, chord, group
from celery.signals import worker_ready

from tests.benchmarks.engines import QueueEngine
from tests.benchmarks.workloads import step

PREFIX = "durable_monty_benchmark:"
PROCESSES = 2

app = Celery("benchmark")
url = os.environ.get("BENCHMARK_REDIS_URL", "redis://")
app.conf.update(
    broker_url=url,
    result_backend=url,
    broker_transport_options={"global_keyprefix": PREFIX},
    result_backend_transport_options={"global_keyprefix": PREFIX},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=64,
    task_default_queue="benchmark",
)
add_one = app.task(name="add_one")(step)


@app.task
def add_one_to(values, index):
    return step(values[index])


@app.task
def total(values):
    return sum(values)


def signature(name):
    match name:
        case "W1":
            return add_one.s(1)
        case "W2":
            return chord([add_one.s(x) for x in (1, 2, 3)], total.s())
        case "W3":
            return chain(
                group(add_one.s(x) for x in (1, 2, 3)),
                group(add_one_to.s(index) for index in range(3)),
                total.s(),
                add_one.s(),
            )
        case "W4":
            return chain(add_one.s(0), *[add_one.s() for _ in range(49)])
        case "W5":
            return chord([add_one.s(x) for x in range(1000)], total.s())


class Peer(QueueEngine):
    name = "celery"
    distributions = ("celery", "redis")

    def __init__(self, options):
        super().__init__(options)
        self._redis = app.backend.client
        self._submitted = []

    def create(self):
        self.drop()

    def drop(self):
        for key in self._redis.scan_iter(f"{PREFIX}*", count=1000):
            self._redis.delete(key)

    def command(self):
        options = f"--concurrency {PROCESSES} --loglevel WARNING -n benchmark-%n"
        quiet = "--without-gossip --without-mingle --without-heartbeat"
        return f"-m celery -A {__name__} worker {options} {quiet}".split()

    def submit(self, workload, n):
        canvas = signature(workload.name)
        handles = [canvas.delay() for _ in range(n)]
        self._submitted = [app.backend.get_key_for_task(handle.id) for handle in handles]
        return handles

    def is_idle(self):
        return self._redis.exists(*self._submitted) == len(self._submitted)

    def is_finished(self, handle):
        return self.is_idle()

    def outputs(self, handles):
        return [handle.result for handle in handles]


@worker_ready.connect
def say_so(**_):
    print("ready", flush=True)

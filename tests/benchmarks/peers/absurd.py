"""Absurd, through its Python SDK: an asynchronous worker that claims and runs 50 tasks at a time.

Each call is a step of the task. Of the SDK's ways this was the fastest with more than one call;
its synchronous worker, which runs one task after another, does 15% more of W1. It polls each
10 ms instead of 250, for the latency. The schema comes with absurdctl, which needs `psql`.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import absurd_sdk
import psycopg

from tests.benchmarks import databases
from tests.benchmarks.engines import QueueEngine
from tests.benchmarks.workloads import WORKLOADS, step

AT_A_TIME = 50
POLL = 0.01


class Peer(QueueEngine):
    name = "absurd"
    distributions = ("absurd-sdk",)

    def __init__(self, options):
        super().__init__(options)
        self.database = databases.own_database(options.database_url, self.name, options.folder)
        self._client = self._connection = None

    @classmethod
    def settings(cls, options):
        if not options.database_url.startswith("postgres"):
            raise SystemExit("absurd needs PostgreSQL: --database-url postgres://...")
        return {}

    def create(self):
        self.database.create()
        subprocess.run(
            [Path(sys.executable).with_name("absurdctl"), "init", "-d", self.database.url],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.client.create_queue()

    def command(self):
        return ["-m", "tests.benchmarks.peers.absurd", self.database.url]

    @property
    def client(self):
        if self._client is None:
            self._connection = psycopg.connect(self.database.url, autocommit=True)
            self._client = absurd_sdk.Absurd(self._connection)
        return self._client

    def submit(self, workload, n):
        spawn = self.client.spawn
        return [spawn(workload.name, {}, queue="default")["task_id"] for _ in range(n)]

    def is_idle(self):
        return not self._ask(
            "SELECT 1 FROM absurd.r_default WHERE state IN ('pending', 'running', 'sleeping')"
        )

    def is_finished(self, handle):
        return self._ask(
            "SELECT 1 FROM absurd.t_default WHERE task_id = %s AND state = 'completed'", [handle]
        )

    def outputs(self, handles):
        return [self.client.fetch_task_result(handle).result for handle in handles]

    def disconnect(self):
        if self._client is not None:
            self._connection.close()
            self._client = self._connection = None

    def drop(self):
        self.disconnect()
        super().drop()

    def _ask(self, query, parameters=()):
        _ = self.client
        return self._connection.execute(f"{query} LIMIT 1", parameters).fetchone() is not None


async def work(url):
    app = absurd_sdk.AsyncAbsurd(url)
    for workload in WORKLOADS.values():
        app.register_task(name=workload.name)(_task(workload.shape))
    print("ready", flush=True)
    await app.start_worker(concurrency=AT_A_TIME, batch_size=AT_A_TIME, poll_interval=POLL)


def _task(shape):
    async def task(params, context):
        def call(x):
            async def run():
                return step(x)

            return context.step("step", run)

        return await shape(call, asyncio.gather)

    return task


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))

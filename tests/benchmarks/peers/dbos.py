"""DBOS: workflows are started in the process that runs them, ten at a time.

W1 and W4 are plain functions in threads, those that gather are async. Both were faster than
DBOS's queues (W1: 240 workflows/s against 160), so there is no backlog: starting each workflow,
which is one insert, is in its drain. Latency is that of a call in the same process.
"""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

from tests.benchmarks import databases
from tests.benchmarks.engines import PAUSE, Engine, WrongOutput
from tests.benchmarks.workloads import WORKLOADS, step

AT_A_TIME = 10


class Peer(Engine):
    name = "dbos"
    distributions = ("dbos",)

    def __init__(self, options):
        super().__init__(options)
        self.database = databases.own_database(options.database_url, self.name, options.folder)

    def create(self):
        self.database.create()
        with self.working():
            pass  # its first start makes the tables

    def command(self):
        return ["-m", "tests.benchmarks.peers.dbos", self.database.url]

    def drain(self, tree, workload, n):
        each, more = divmod(n, self.options.workers)
        shares = [each + (number < more) for number in range(self.options.workers)]
        answers = tree.ask([["run", workload.name, share] for share in shares])
        self._check(workload, answers, n)
        return max(answer["seconds"] for answer in answers)

    def through(self, tree, workload, n):
        return self.drain(tree, workload, n)

    def latencies(self, tree, workload, count):
        # By the first process; the others are idle.
        counts = [count] + [0] * (self.options.workers - 1)
        answers = tree.ask([["look", workload.name, count] for count in counts])
        self._check(workload, answers, count)
        return answers[0]["latencies"]

    def transactions(self, workload, n):
        before = self.database.commits()
        with self.working() as tree:
            self.drain(tree, workload, n)
        return self.database.commits() - before

    def _check(self, workload, answers, n):
        outputs = [output for answer in answers for output in answer["outputs"]]
        if outputs != [workload.output] * n:
            raise WrongOutput(f"{self.name}, {workload.name}: {outputs[:5]}...")
        self.finished += n


thread_step = DBOS.step(name="thread_step")(step)


@DBOS.step()
async def async_step(x):
    return step(x)


@DBOS.workflow()
def one():
    return thread_step(1)


@DBOS.workflow()
def chain():
    x = 0
    for _ in range(50):
        x = thread_step(x)
    return x


@DBOS.workflow()
async def gathering(name):
    return await WORKLOADS[name].shape(async_step, asyncio.gather)


THREADED = {"W1": one, "W4": chain}


def run(name, n):
    began = time.perf_counter()
    if name in THREADED:
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            outputs = list(threads.map(lambda _: THREADED[name](), range(n)))
    else:
        outputs = asyncio.run(_gathered(name, n))
    return {"seconds": time.perf_counter() - began, "outputs": outputs}


async def _gathered(name, n):
    room = asyncio.Semaphore(AT_A_TIME)

    async def start():
        async with room:
            handle = await DBOS.start_workflow_async(gathering, name)
            return await handle.get_result()

    return await asyncio.gather(*[start() for _ in range(n)])


def look(name, count):
    latencies, outputs = [], []
    for _ in range(count):
        time.sleep(sum(PAUSE) / 2)
        began = time.perf_counter()
        outputs += run(name, 1)["outputs"]
        latencies.append(time.perf_counter() - began)
    return {"latencies": latencies, "outputs": outputs}


def work(url):
    config = {
        "name": "benchmark",
        "system_database_url": url.replace("postgresql://", "postgresql+psycopg://"),
        "application_version": "1",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        answer = {"run": run, "look": look}[verb](*arguments)
        print(f"answer:{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    work(sys.argv[1])

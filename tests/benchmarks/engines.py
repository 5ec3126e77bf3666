"""What can be measured: durable_monty, and its peers."""

import random
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.benchmarks.processes import Tree
from tests.benchmarks.workloads import WORKLOADS

# Seconds: before each look at the latency, and between two looks whether it is finished.
PAUSE = (0.04, 0.08)
LOOK = 0.0005


@dataclass(frozen=True, slots=True)
class Options:
    """`workers`: processes that work, each as its engine starts them."""

    executor: str
    workers: int
    database_url: str
    folder: Path
    redis_url: str = ""


class WrongOutput(Exception):
    pass


class Engine(ABC):
    """`distributions`: the packages whose versions belong to a result."""

    name: str
    workloads = frozenset(WORKLOADS)
    distributions: tuple[str, ...] = ()
    ready = "ready"
    database = None

    def __init__(self, options: Options) -> None:
        self.options = options
        self.finished = 0

    @classmethod
    def settings(cls, options: Options) -> dict[str, str]:
        """What must be in the environment before Django is set up."""
        return {}

    @abstractmethod
    def create(self) -> None:
        """Empty tables."""

    def drop(self) -> None:
        if self.database:
            self.database.drop()

    @abstractmethod
    def command(self) -> list[str]:
        """Arguments of Python for a worker, which writes `ready` when it is."""

    def environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def drain(self, tree, workload, n) -> float:
        """Seconds from when the workers may begin with n workflows until all are finished."""

    @abstractmethod
    def through(self, tree, workload, n) -> float:
        """Seconds from the first submit of n until all are finished; the workers wait for them."""

    @abstractmethod
    def latencies(self, tree, workload, count) -> list[float]:
        """Seconds from a submit until it is known to be finished, one at a time."""

    def disconnect(self) -> None: ...

    @contextmanager
    def working(self):
        tree = Tree(
            self.command(),
            self.options.workers,
            self.environment(),
            self.ready,
            self.options.folder,
        )
        try:
            yield tree
            tree.end()
        finally:
            tree.kill()

    def versions(self):
        return {name: metadata.version(name) for name in self.distributions}


class QueueEngine(Engine):
    """Workers take what somebody else has submitted."""

    @abstractmethod
    def submit(self, workload, n) -> list:
        """Submits n, each in a transaction of its own, and gives a handle of each."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Whether all that was submitted is finished: one cheap query."""

    @abstractmethod
    def is_finished(self, handle) -> bool:
        """One cheap query."""

    @abstractmethod
    def outputs(self, handles) -> list: ...

    def drain(self, tree, workload, n):
        self._stop(tree)
        handles = self.submit(workload, n)
        began = time.perf_counter()
        tree.go()
        tree.until(self.is_idle)
        took = time.perf_counter() - began
        self._check(workload, handles)
        return took

    def through(self, tree, workload, n):
        began = time.perf_counter()
        handles = self.submit(workload, n)
        tree.until(self.is_idle)
        took = time.perf_counter() - began
        self._check(workload, handles)
        return took

    def latencies(self, tree, workload, count):
        found = []
        for _ in range(count):
            time.sleep(random.uniform(*PAUSE))
            began = time.perf_counter()
            handles = self.submit(workload, 1)
            tree.until(lambda handles=handles: self.is_finished(handles[0]), interval=LOOK)
            found.append(time.perf_counter() - began)
            self._check(workload, handles)
        return found

    def transactions(self, workload, n):
        """How many were committed for n, in a run of its own: by workers that start on a backlog
        and end when it is drained. Submitting is not counted, starting and ending is."""
        self.submit(workload, n)
        self.disconnect()
        before = self.database.commits()
        with self.working() as tree:
            looks = tree.until(self.is_idle)
            tree.stop()
        self.disconnect()
        self.finished += n
        return self.database.commits() - before - looks

    def _stop(self, tree):
        while True:
            tree.stop()
            if self.database is None or not self.database.is_locked():
                return
            tree.go()
            time.sleep(0.01)

    def _check(self, workload, handles):
        outputs = self.outputs(handles)
        if outputs != [workload.output] * len(handles):
            raise WrongOutput(f"{self.name}, {workload.name}: {outputs[:5]}...")
        self.finished += len(handles)

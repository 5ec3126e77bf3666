"""What the conformance tests need to know of an engine: the harness that each engine subclasses.

Each file `engine_*.py` of this folder has a list `ENGINES` of instances. Adding an engine is
adding a file.
"""

import json
import threading
from contextlib import contextmanager

from django.db import connections

from durable_monty import OrchestratorService, Worker
from durable_monty.executors.loading import executor_class
from tests.processes import Process, database_url

# Seconds; short, so that what is lost comes back soon.
LEASE = 2
SETTINGS = {"LEASE": LEASE, "POLL_INTERVAL": 0.02, "DRAIN_TIMEOUT": 1}


class Engine:
    """One engine in one mode.

    `start` and `stop` frame all tests of the engine: brokers and workers that are started once.
    A test may call the other methods in between. What an engine has not, its attributes say.
    """

    name = ""
    """Its name in the tests' ids."""
    executor = ""
    """The executor, as `executor_class` knows it."""
    mode = "django"
    """"django": its jobs have Django and the database. "result": they have neither."""
    extra = None
    """The module that must be there, of an extra."""
    has_workers = True
    """Whether it has workers, which the tests may kill: `kill_workers` and `start_workers`."""
    has_broker = True
    """Whether it has a broker, which the tests may restart."""
    keeps_jobs = True
    """Whether jobs outlive a restart of the broker. If not, they come back by their leases."""
    can_revoke = True
    """Whether a withdrawn call's job, which waits, is taken away from the engine."""
    tells = True
    """Whether the end of a job is told at once. If not, the worker asks for it now and then."""
    may_lack_functions = True
    """Whether its workers may lack a function that the orchestrator has."""

    @property
    def keeps_types(self):
        """Whether it carries all values that the codec has."""
        return self.mode == "django"

    def __str__(self):
        return self.name

    def options(self):
        """Returns the arguments of the executor."""
        return {}

    def start(self, directory):
        """Starts the engine, with its workers. `directory` is for its files."""

    def stop(self):
        """Ends all that was started, whatever state it is in."""

    def reset(self):
        """Called after each test: forgets all jobs. Workers and broker may be away: then they are
        started again."""

    def start_workers(self):
        """Starts the engine's workers, if there are none, and waits until they are ready."""
        raise NotImplementedError

    def stop_workers(self):
        """Ends the engine's workers in an orderly way; jobs wait then."""
        raise NotImplementedError

    def kill_workers(self):
        """kill -9 of the engine's workers, with all of their processes."""
        raise NotImplementedError

    def stop_broker(self):
        """Stops the broker; `start_broker` starts it again."""
        raise NotImplementedError

    def start_broker(self):
        raise NotImplementedError

    def waiting_jobs(self):
        """The ids of the jobs that wait for a worker. Called while there are no workers."""
        raise NotImplementedError

    def forget_jobs(self):
        """Loses all jobs that wait, without a trace. Called while there are no workers."""
        raise NotImplementedError

    def repeat_jobs(self):
        """Makes the engine deliver each job that waits twice. Called while there are no
        workers."""
        raise NotImplementedError

    @contextmanager
    def worker(self, directory, *, killable=False):
        """Runs the worker that advances workflows, until the end of the block. `killable`: the
        test kills the engine's workers, which must not be this process."""
        executor = executor_class(self.executor)(**self.options())
        with in_thread(executor):
            yield


class WorkerEngine(Engine):
    """An engine whose workers are those of `runworker` itself: both end together. `in_thread`:
    where nothing is killed, it needs no process for each test."""

    has_broker = False
    can_revoke = False
    may_lack_functions = False
    arguments = ("--workers=2",)
    _process = _directory = None

    def __init__(self, name, *, in_thread=False):
        self.name = self.executor = name
        self.in_thread = in_thread

    @contextmanager
    def worker(self, directory, *, killable=False):
        if self.in_thread and not killable:
            with super().worker(directory):
                yield
            return
        self._directory = directory
        self.start_workers()
        try:
            yield
        finally:
            self.kill_workers()

    def start_workers(self):
        if self._process is None:
            arguments = ("runworker", f"--executor={self.executor}", *self.arguments)
            settings = {**SETTINGS, "EXECUTORS": {self.executor: self.options()}}
            self._process = manage_process(
                self._directory, *arguments, DURABLE_MONTY_JSON=json.dumps(settings)
            )
            self._process.until_ready()

    def kill_workers(self):
        if self._process is not None:
            self._process.end()
            self._process = None


@contextmanager
def in_thread(*executors):
    """Runs a worker with these executors in a thread, until the end of the block."""
    worker = Worker(OrchestratorService(), executors, poll_interval=0.02)

    def run():
        try:
            worker.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, name="worker of the test", daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive(), "the worker did not stop"


def environment(**settings):
    """The variables of a process that works on the test's database."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
        "DATABASE_URL": database_url(),
        "DURABLE_MONTY_JSON": json.dumps({**SETTINGS, **settings}),
    }


def manage_process(directory, *arguments, **env):
    """Starts `manage.py <command>` on the test's database."""
    log = directory / f"{arguments[0]}-{len(list(directory.glob('*.log')))}.log"
    return Process(log, *arguments, env={**environment(), **env})

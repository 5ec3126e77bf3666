"""The `runworker` processes, and those of an engine. Where one has ended, with all that it
started, the next is begun."""

import signal
import time

from tests.chaos.engines import ENGINES
from tests.processes import Process, Program, is_forked, members, stat_of

# Seconds after its main process by which a tree must be gone.
_ORPHAN_PATIENCE = 10.0
# Drained, or drained with running calls cut off, or so new that it knew no signals yet.
_GOOD_CODES = {0, 3, -signal.SIGTERM}
# How a line begins that tells why one could not start.
_NO_DATABASE = (
    "CommandError: The database 'default' cannot be used",
    "django.db.utils.OperationalError",
)


class Worker:
    """A place for one `runworker` after another, on a machine that has this clock."""

    def __init__(self, number, executor, directory, clock):
        self.number, self.executor, self.directory, self.clock = number, executor, directory, clock
        self.begun, self.not_started, self.orphans = 0, 0, 0
        self.wrong = []
        self._start()

    def _start(self):
        self._died_at = None
        self.process = Process(
            self.directory / f"runworker-{self.number}-{self.begun}.log",
            "runworker",
            f"--executor={self.executor}",
            *(() if self.executor in ENGINES else ("--workers=2",)),
            env=self.clock.environment,
        )
        self.begun += 1

    @property
    def pids(self):
        return members(self.process.pid)

    def role(self, pid):
        if pid == self.process.pid:
            return "main"
        if not is_forked(pid):
            return "sandbox"
        for role in ("worker", "pusher", "monitor"):
            if pid in self.process.pids(role):
                return role
        stat = stat_of(pid)
        return "sentinel" if stat and stat[1] == self.process.pid else "starting"

    def revive(self):
        if self.process.popen.poll() is None:
            return
        if left := self.pids:
            self._died_at = self._died_at or time.monotonic()
            stopped = any((stat := stat_of(pid)) and stat[0] == "T" for pid in left)
            if stopped or time.monotonic() - self._died_at < _ORPHAN_PATIENCE:
                return
            self.orphans += len(left)
            self.process.end()
        self._note_end()
        self._start()

    def _note_end(self):
        """A worker may end only if it was killed, or if it found no database when it began."""
        code = self.process.popen.returncode
        if code == -signal.SIGKILL:
            return
        if code == 1 and self._found_no_database():
            self.not_started += 1
        else:
            self.wrong.append(
                f"a worker ended by itself, with exit code {code}:\n{self.process.tail()}"
            )

    def _found_no_database(self):
        log = self.process.log.read_text()
        said = any(line.startswith(_NO_DATABASE) for line in log.splitlines())
        return said and "worker started" not in log

    def drain(self, patience):
        """SIGTERM, unless it was killed a moment ago. What is left are orphans."""
        ended_before = self.process.popen.poll() is not None
        self.process.popen.terminate()
        deadline = time.monotonic() + patience
        while (self.process.popen.poll() is None or self.pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.orphans += len(self.pids)
        if ended_before:
            self._note_end()
        elif (code := self.process.popen.poll()) not in _GOOD_CODES:
            self.wrong.append(f"a worker that was to drain ended with {code}")


class EngineWorker:
    """A place for one worker of the engine after another, as a supervisor keeps it: what is left
    of one that has ended is killed before the next begins."""

    def __init__(self, engine, number, directory, clock):
        self.engine, self.number, self.directory, self.clock = engine, number, directory, clock
        self.begun = 0
        self._start()

    def _start(self):
        name = self.engine.name
        self.process = Program(
            self.directory / f"{name}-{self.number}-{self.begun}.log",
            *self.engine.command,
            env={**self.clock.environment, **self.engine.environment},
        )
        self.begun += 1

    @property
    def pids(self):
        return members(self.process.pid)

    def role(self, pid):
        return f"{self.engine.name} {'worker' if pid == self.process.pid else 'child'}"

    def revive(self):
        # RQ's workers end when they lose Redis.
        if self.process.popen.poll() is not None:
            self.process.end()
            self._start()

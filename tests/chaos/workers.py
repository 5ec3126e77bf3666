"""The `runworker` processes. Where one has ended, with all that it started, the next is begun."""

import time

from tests.processes import Process, is_forked, members, stat_of

# Seconds after its main process by which a tree must be gone.
_ORPHAN_PATIENCE = 10.0


class Worker:
    """A place for one `runworker` after another, on a machine that has this clock."""

    def __init__(self, number, executor, directory, clock):
        self.number, self.executor, self.directory, self.clock = number, executor, directory, clock
        self.sessions = []
        self.orphans = 0
        self._start()

    def _start(self):
        self._died_at = None
        self.process = Process(
            self.directory / f"runworker-{self.number}-{len(self.sessions)}.log",
            "runworker",
            f"--executor={self.executor}",
            "--workers=2",
            env=self.clock.environment,
        )
        self.sessions.append(self.process.pid)

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
            stopped = any(stat_of(pid) and stat_of(pid)[0] == "T" for pid in left)
            if stopped or time.monotonic() - self._died_at < _ORPHAN_PATIENCE:
                return
            self.orphans += len(left)
            self.process.end()
        self._start()

    def drain(self, patience):
        """SIGTERM; gives its exit code, if it had not been killed. What is left are orphans."""
        ended_before = self.process.popen.poll() is not None
        self.process.popen.terminate()
        deadline = time.monotonic() + patience
        while (self.process.popen.poll() is None or self.pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.orphans += len(self.pids)
        return [] if ended_before else [self.process.popen.poll()]

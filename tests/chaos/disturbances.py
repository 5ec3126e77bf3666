"""What goes wrong, and how often: chosen by a seed, one thing every second or so."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from threading import Timer

from tests.chaos.clocks import can_step
from tests.processes import members

# Seconds.
_PAUSES = (0.3, 1.5)
# With an engine, whose workers take seconds to begin.
_ENGINE_PAUSES = (3.0, 6.0)
_DOWN = (0.0, 3.0)
_STEPS = (-4.0, 4.0)
# How long something is stopped, in leases.
_FROZEN = (1.2, 2.0)

_WEIGHTS = {"kill": 8, "freeze": 2, "restart": 2, "broker": 2, "step": 2}
_RESTARTS = ["fast", "immediate", "backend"]


class Disturbances:
    """`cluster`: the PostgreSQL server that may be restarted, or None. `engine`: that which runs
    the functions, or None. `clocks`: by machine."""

    def __init__(self, rng, workers, lease, *, cluster, engine, clocks):
        self.rng, self.workers, self.lease = rng, workers, lease
        self.cluster, self.engine, self.clocks = cluster, engine, clocks
        self.counts = Counter()
        self._pauses = _ENGINE_PAUSES if engine else _PAUSES
        self._next_at = 0.0
        self._thawing = []
        self._weights = dict(_WEIGHTS)
        if cluster is None:
            del self._weights["restart"]
        if engine is None:
            del self._weights["broker"]
        if not can_step():
            del self._weights["step"]
        # Each once, then by weight.
        self._first = rng.sample([*self._weights], len(self._weights))

    def go_on(self):
        if time.monotonic() < self._next_at:
            return
        getattr(self, f"_{self._chosen()}")()
        self._next_at = time.monotonic() + self.rng.uniform(*self._pauses)

    @property
    def all_came(self):
        """Of each kind one."""
        return not self._first

    def _chosen(self):
        if self._first:
            return self._first.pop()
        (name,) = self.rng.choices([*self._weights], [*self._weights.values()])
        return name

    def end(self):
        """Nothing is stopped any more, and all clocks are right again."""
        for thaw in self._thawing:
            thaw.join()
        for clock in self.clocks.values():
            clock.set(0.0)

    def _victim(self):
        """A worker, one of its processes, and what that is: each role as often as the others,
        however many processes it has. A worker that died is begun again before this is called."""
        found = [(worker, pids) for worker in self.workers if (pids := sorted(worker.pids))]
        worker, pids = self.rng.choice(found)
        by_role = {}
        for pid in pids:
            by_role.setdefault(worker.role(pid), []).append(pid)
        role = self.rng.choice(sorted(by_role))
        return worker, self.rng.choice(by_role[role]), role

    def _kill(self):
        """kill -9 of any process of a worker."""
        worker, pid, role = self._victim()
        self.counts[f"kill -9 {role}"] += 1
        _signal([pid], worker.process.pid, signal.SIGKILL)

    def _freeze(self):
        """SIGSTOP of one process, or of all of a worker, for longer than a lease."""
        worker, pid, role = self._victim()
        whole = self.rng.random() < 0.5
        chosen = worker.pids if whole else [pid]
        self.counts[f"SIGSTOP {'worker tree' if whole else role}"] += 1
        _signal(chosen, worker.process.pid, signal.SIGSTOP)
        # Not by the loop that calls this: it may wait for a lock that they hold.
        thaw = Timer(
            self.lease * self.rng.uniform(*_FROZEN),
            _signal,
            [chosen, worker.process.pid, signal.SIGCONT],
        )
        thaw.start()
        self._thawing.append(thaw)

    def _restart(self):
        mode = self.rng.choice(_RESTARTS)
        if mode == "backend":
            if self.cluster.kill_backend(self.rng):
                self.counts["PostgreSQL kill -9 of a session"] += 1
            return
        self.cluster.stop(mode)
        time.sleep(self.rng.uniform(*_DOWN))
        self.cluster.start()
        self.counts[f"PostgreSQL restart, {mode}"] += 1

    def _broker(self):
        how = self.engine.restart_broker(self.rng)
        self.counts[f"broker {how}"] += 1

    def _step(self):
        """Not added up: a clock that runs ahead for ever would end every sleep at once."""
        machine = self.rng.choice([*self.clocks])
        self.clocks[machine].set(self.rng.uniform(*_STEPS))
        self.counts[f"clock step {machine}"] += 1


def _signal(pids, session, number):
    # Pids are used again: only those that still belong to the worker.
    for pid in members(session).intersection(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, number)

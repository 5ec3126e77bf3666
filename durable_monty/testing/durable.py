"""Runs executions within a test of Django, in its thread and its transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from durable_monty import codec
from durable_monty.call_service import ExecutionId, parse_id
from durable_monty.engine.interpreters import interpreters
from durable_monty.exceptions import (
    CrashNeverCame,
    KitError,
    NeverEnds,
    NoOpenCall,
    NothingToCrash,
    SeveralOpenCalls,
    StillWaiting,
    WrongMoment,
)
from durable_monty.functions import MANUAL_EXECUTOR
from durable_monty.kinds import PERSON
from durable_monty.models import Execution
from durable_monty.service import OrchestratorService
from durable_monty.testing.fakes import Fake, KitExecutor, registered
from durable_monty.testing.moving import MovedClock
from durable_monty.testing.waits import (
    describe_calls,
    describe_executions,
    next_moment,
    open_calls,
)
from durable_monty.worker import Worker

# The most sleeps and retries to whose ends `run_to_end` moves the clock.
_MOST_STEPS = 1_000


class Durable:
    """Runs all executions of a database in the test's own thread, connection and transaction.

    Nothing waits for real time, which only `skip` and `run_to_end` move. `close()` it at the end
    of the test: the fixture `durable` and `DurableMixin` do.
    """

    def __init__(self, using: str | None = None) -> None:
        self.service = OrchestratorService(using)
        self.using = self.service.using
        self._executor = KitExecutor(self.using)
        self._clock = MovedClock(self.using)

    def close(self) -> None:
        """Undoes all that the test has set. Raises `CrashNeverCame`."""
        self._clock.restore()
        interpreters.clear()
        self._executor.fakes.clear()
        left, self._executor.crashes = +self._executor.crashes, type(self._executor.crashes)()
        if left:
            raise CrashNeverCame(left)

    # Running

    def run_until_waiting(self) -> None:
        """Runs everything that is due, until all executions have ended or wait for people or for
        time to pass."""
        worker = _KitWorker(self.service, self._executor)
        try:
            idle = 0
            # Twice: a call that is given up is no work of its round, and wakes its execution.
            while idle < 2 or not worker.is_idle:
                idle = 0 if worker.round(everything=True) else idle + 1
                broken, self._executor.broken = self._executor.broken, None
                if broken is not None:
                    raise broken
                if idle == 2 and self._answer_for_people():
                    idle = 0
        finally:
            worker.leave()

    def run_to_end(self, execution_id: ExecutionId | None = None) -> Any:
        """Runs one execution to its end and returns its output, or all of them.

        Time moves to the end of each sleep and to each next attempt. Raises `StillWaiting` where
        only an answer helps, `NeverEnds`, and for one execution as `get_result` does.
        """
        executions = Execution.objects.using(self.using).unfinished().order_by("pk")
        if execution_id is not None:
            executions = executions.filter(pk=parse_id(execution_id))
        for _step in range(_MOST_STEPS):
            moment = self._run_and_look_ahead(with_deadlines=False)
            if not executions.exists():
                break
            if moment is None:
                raise StillWaiting(describe_executions(executions, self.using))
            self._clock.move_to(moment)
        else:
            raise NeverEnds(_MOST_STEPS, describe_executions(executions, self.using))
        return None if execution_id is None else self.service.get_result(execution_id)

    # Time

    @property
    def now(self) -> datetime:
        """The time of the database, aware, in UTC."""
        return self._clock.now

    def skip(self, duration: timedelta | None = None, **parts: float) -> None:
        """Lets time pass: `skip(days=2)`, or a timedelta. What becomes due on the way runs then.

        Only the database's time moves, not that of Python.
        """
        duration = timedelta(**parts) if duration is None else duration
        if duration < timedelta():
            raise WrongMoment(f"skip({duration!r})", "time does not go back.")
        until = self.now + duration
        while (moment := self._run_and_look_ahead(with_deadlines=True)) is not None:
            if moment > until:
                break
            self._clock.move_to(moment)
        self._clock.move_to(until)
        self.run_until_waiting()

    def freeze(self, moment: datetime | None = None) -> datetime:
        """Stops the database's time at an aware time, by default at the present one, and returns
        that, in whole milliseconds. It moves only by `skip` and `run_to_end` then."""
        return self._clock.stop(moment)

    # Functions and people

    def answer(
        self,
        function: str | Callable[..., Any],
        value: Any,
        *,
        execution_id: ExecutionId | None = None,
        call_id: int | None = None,
    ) -> None:
        """Answers the one open call of a function with a value, or with an exception.

        The ids choose among several. Raises `NoOpenCall`, `SeveralOpenCalls`, and as
        `complete_call` does.
        """
        name = registered(function).name
        calls = open_calls(self.using).filter(function=name)
        if execution_id is not None:
            calls = calls.filter(execution=parse_id(execution_id))
        if call_id is not None:
            calls = calls.filter(call_id=call_id)
        if not calls:
            raise NoOpenCall(name, describe_calls(open_calls(self.using)))
        if len(calls) > 1:
            raise SeveralOpenCalls(name, describe_calls(calls))
        self._answer(calls[0].execution_id, calls[0].call_id, value)

    def fake(
        self,
        function: str | Callable[..., Any],
        returns: Any = None,
        *,
        side_effect: Any = None,
    ) -> mock.Mock:
        """Puts a mock in the place of a registered function, also of one that people answer.

        `side_effect` is that of `unittest.mock`: an exception, a function, or an iterable of
        values and exceptions. The mock has the function's signature: a call that does not fit it
        fails with the TypeError of production. Returns the mock, for `assert_called_once_with`.
        """
        entry = registered(function)
        fake = self._executor.fakes[entry.name] = Fake(entry, returns, side_effect)
        made: mock.Mock = fake.mock
        return made

    def crash_here(self, function: str | Callable[..., Any], times: int = 1) -> None:
        """Loses the worker of the next `times` calls of a function after its effects, before its
        answer is recorded. The call runs again, as in production.

        The effects of a transactional function are rolled back. Raises `NothingToCrash` for a
        function that people answer; `close` raises `CrashNeverCame` if it does not run so often.
        """
        entry = registered(function)
        if entry.executor == MANUAL_EXECUTOR:
            raise NothingToCrash(entry.name)
        self._executor.crashes[entry.name] += times

    def _run_and_look_ahead(self, *, with_deadlines: bool) -> datetime | None:
        """Runs everything that is due, and returns when the next is, after it began."""
        # What became due while it ran, as real time passes too, may have been left.
        since = self.now
        self.run_until_waiting()
        return next_moment(since, self.using, with_deadlines=with_deadlines)

    def _answer(self, execution_id: ExecutionId, call_id: int, value: Any) -> None:
        if isinstance(value, BaseException):
            self.service.fail_call(execution_id, call_id, value)
        else:
            self.service.complete_call(execution_id, call_id, value)

    def _answer_for_people(self) -> bool:
        """Answers the calls of people whose functions are faked. Returns whether there was one."""
        fakes = self._executor.fakes
        calls = list(open_calls(self.using).filter(PERSON.rows, function__in=list(fakes)))
        for call in calls:
            try:
                value = fakes[call.function](*codec.decode(call.args), **codec.decode(call.kwargs))
            except KitError:
                raise
            except Exception as exc:  # noqa: BLE001  (the workflow sees it)
                value = exc
            self._answer(call.execution_id, call.call_id, value)
        return bool(calls)


class _KitWorker(Worker):
    """A worker that does single rounds, without a row of its own."""

    def leave(self) -> None:
        """Gives back what it has claimed, and ends its threads and sandboxes."""
        self._engine.give_back()

"""What the operations must do, in plain Python: no database, no sandbox, a clock that is a number.

CPython's own asyncio runs the workflows: a call is a future, and a turn sets some futures, in the
order of their call ids, and lets the loop run until nothing moves. An operation that is refused
gives the name of its error and changes nothing.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from dataclasses import dataclass, field

LEASE, GRACE = 60, 30
MAX_LOSSES, MAX_FAULTS = 3, 5
ACTIVE = ("scheduled", "waiting")
DEADLINE = ("TimeoutError", "The deadline of the execution has passed.")


@dataclass(frozen=True)
class Policy:
    """As a function is registered. Seconds."""

    executor: str = "default"
    max_attempts: int = 1
    initial: int = 0
    schedule_to_start: int | None = None
    start_to_close: int | None = None
    heartbeat: int | None = None
    schedule_to_close: int | None = None


POLICIES = {
    "step": Policy(),
    "flaky": Policy(max_attempts=3, initial=10, start_to_close=45, schedule_to_close=400),
    "brisk": Policy(max_attempts=2, initial=5, schedule_to_start=25, heartbeat=20),
    "ask": Policy(executor="manual", schedule_to_close=900),
    "asyncio.sleep": Policy(executor="engine"),
}


@dataclass(frozen=True)
class Answer:
    """`value`, unless there is an error: (type, message)."""

    value: object = None
    error: tuple[str, str] | None = None

    @property
    def status(self):
        return "failed" if self.error else "completed"


@dataclass(eq=False)
class Call:
    execution: Execution
    number: int
    function: str
    argument: object
    future: asyncio.Future
    turn: int = 0
    status: str = "pending"
    answer: Answer | None = None
    delivered: int | None = None
    due: int | None = None
    claim: object = None
    started: bool = False
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    start_by: int | None = None
    attempt_end_by: int | None = None
    heartbeat_by: int | None = None
    close_by: int | None = None
    attempts: list = field(default_factory=list)

    @property
    def policy(self):
        return POLICIES[self.function]

    @property
    def is_open(self):
        return self.status in ("pending", "submitted")

    @property
    def deadline(self):
        reasons = (self.start_by, self.attempt_end_by, self.heartbeat_by, self.close_by)
        return (
            min((at for at in reasons if at is not None), default=None) if self.is_open else None
        )

    def close(self, status, answer=None):
        self.status, self.answer, self.due = status, answer, None

    def end_attempt(self, outcome):
        if self.status == "submitted" and self.started:
            self.attempts.append((self.attempt, outcome))


@dataclass(eq=False)
class Execution:
    program: str
    x: int
    due: int
    deadline: int | None
    status: str = "scheduled"
    turn: int = 0
    calls: list[Call] = field(default_factory=list)
    claim: object = None
    wakeups: int = 0
    faults: int = 0
    pause_requested: bool = False
    cancel_reason: str | None = None
    grace_until: int | None = None
    told: set = field(default_factory=set)
    output: object = None
    error: tuple[str, str] | None = None
    main: asyncio.Task | None = None
    ended_itself: bool = False

    @property
    def is_finished(self):
        return self.status in ("completed", "failed", "cancelled")

    @property
    def open_calls(self):
        return [call for call in self.calls if call.is_open]

    def request_since(self, claim):
        """The error by which the workflow is asked to end and of which it cannot know yet."""
        cancelled = ("Cancelled", self.cancel_reason)
        if self.cancel_reason != claim.cancel_reason:
            return cancelled
        if self.deadline != claim.deadline:
            return DEADLINE
        request = DEADLINE if self.cancel_reason is None else cancelled
        return request if self.grace_until is not None and request not in self.told else None


@dataclass(eq=False)
class Claim:
    """An execution as its worker saw it when it took it."""

    execution: Execution
    turn: int
    wakeups: int
    faults: int
    cancel_reason: str | None
    deadline: int | None


@dataclass(eq=False)
class Ran:
    """A turn that was run and is not committed."""

    claim: Claim
    answers: list[Call]


class Oracle:
    def __init__(self, programs):
        self.programs = programs
        self.now = 0
        self.executions: list[Execution] = []
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)

    def close(self):
        for execution in self.executions:
            if execution.main is not None:
                execution.main.cancel()
        self._run_loop()
        self.loop.close()

    @property
    def calls(self):
        return [call for execution in self.executions for call in execution.calls]

    # --- executions ---

    def start(self, program, x, deadline=None):
        ends = None if deadline is None else self.now + deadline
        self.executions.append(Execution(program, x, due=self.now, deadline=ends))

    def claimable(self, execution):
        """Whether a worker that asks for this one gets it."""
        free = execution.claim is None or self._is_past(execution.due)
        return execution.status in ACTIVE and free

    def due_executions(self):
        return [execution for execution in self.executions if self._is_past(execution.due)]

    def claim_execution(self, execution):
        execution.faults += execution.claim is not None
        claim = Claim(
            execution,
            execution.turn,
            execution.wakeups,
            execution.faults,
            execution.cancel_reason,
            execution.deadline,
        )
        execution.claim, execution.due = claim, self.now + LEASE
        return claim

    def run(self, claim):
        answered = [
            call for call in claim.execution.calls if call.answer and call.delivered is None
        ]
        return Ran(claim, answered)

    def commit(self, ran):
        claim, execution = ran.claim, ran.claim.execution
        if execution.claim is not claim or execution.turn != claim.turn:
            return
        execution.claim = None
        if claim.faults >= MAX_FAULTS:
            execution.faults = claim.faults + 1
            message = f"This turn was given up after {execution.faults} tries: "
            message += "its worker vanished while it ran"
            self._finish(execution, "failed", error=("RuntimeError", message))
        elif claim.turn and not ran.answers:
            self._suspend(execution, claim, execution.status)
        else:
            self._advance(execution, claim, ran.answers)

    def cancel(self, execution, reason, grace=GRACE):
        if execution.is_finished:
            return "ExecutionFinished"
        if execution.cancel_reason is not None:
            return None
        execution.cancel_reason = reason
        if not execution.turn and execution.claim is None:
            self._finish(execution, "cancelled", error=("Cancelled", reason))
        else:
            self._ask(execution, grace, ("Cancelled", reason))
        return None

    def terminate(self, execution, reason):
        if execution.is_finished:
            return "ExecutionFinished"
        self._finish(execution, "cancelled", error=("Cancelled", reason))
        return None

    def pause(self, execution):
        if execution.is_finished:
            return "ExecutionFinished"
        if execution.claim is not None:
            execution.pause_requested = True
        else:
            execution.status, execution.due = "paused", None
        return None

    def resume(self, execution):
        if execution.is_finished:
            return "ExecutionFinished"
        if execution.status == "paused":
            execution.status = "waiting" if execution.turn else "scheduled"
            execution.due = self.now
        elif not execution.pause_requested:
            return "ExecutionNotPaused"
        execution.pause_requested = False
        return None

    # --- calls ---

    def due_calls(self, functions):
        return [
            call
            for call in self.calls
            if call.function in functions
            and call.policy.executor == "default"
            and self._is_past(call.due)
            and not self._is_past(call.deadline)
        ]

    def claim_calls(self, functions):
        """All that are due. An attempt that is still running then is lost."""
        token, claimed = object(), []
        for call in self.due_calls(functions):
            lost = call.started and call.status == "submitted"
            if lost:
                call.end_attempt("lost")
                call.losses += 1
                call.attempt_end_by = call.heartbeat_by = None
            call.claim, call.status, call.started = token, "submitted", False
            call.due = self.now + LEASE
            if lost and call.losses >= MAX_LOSSES:
                self._settle(call, Answer(error=("RuntimeError", _given_up(call.function))))
            else:
                claimed.append(call)
        return token, claimed

    def start_attempt(self, call, token):
        """Whether the claim still held."""
        if not call.is_open or call.claim is not token:
            return False
        call.attempt += 1
        call.started, call.start_by = True, None
        call.due = self.now + LEASE
        call.attempt_end_by = self._after(call.policy.start_to_close)
        call.heartbeat_by = self._after(call.policy.heartbeat)
        return True

    def settle(self, call, token, answer):
        """What a function gave; an error is final only when its policy says so."""
        if call.is_open and call.claim is token:
            if answer.error:
                call.end_attempt("failed")
            self._settle_or_retry(call, answer)
            return None
        if call.is_open:
            return "LeaseLost"
        return None if call.claim is token and call.answer == answer else "CallSettled"

    def settle_by_hand(self, call, answer):
        if not call.is_open:
            return "CallSettled"
        self._settle(call, answer)
        return None

    def beat(self, call, token):
        if not call.is_open or call.claim is not token:
            return False
        call.heartbeat_by = self._after(call.policy.heartbeat)
        return True

    def renew(self, call, token):
        if call.is_open and call.claim is token:
            call.due = self.now + LEASE

    def release(self, call, token):
        if call.is_open and call.claim is token:
            call.claim, call.status, call.due = None, "pending", self.now

    # --- time ---

    def fire_timers(self):
        for call in self.calls:
            if call.function == "asyncio.sleep" and self._is_past(call.due):
                self._settle(call, Answer(None))

    def time_out_calls(self):
        for call in self.calls:
            if self._is_past(call.deadline):
                answer, may_retry = self._overdue(call)
                call.end_attempt("timed_out")
                if may_retry:
                    self._settle_or_retry(call, answer)
                else:
                    self._settle(call, answer)

    def expire_executions(self):
        for execution in self.executions:
            if self._is_past(execution.grace_until):
                if execution.cancel_reason is not None:
                    message = f"{execution.cancel_reason} (It did not end by itself in time.)"
                    self._finish(execution, "cancelled", error=("Cancelled", message))
                else:
                    message = "The deadline of the execution has passed, and its grace too."
                    self._finish(execution, "failed", error=("TimeoutError", message))
            elif self._is_past(execution.deadline):
                execution.deadline = None
                self._ask(execution, GRACE, DEADLINE)

    # --- how ---

    def _is_past(self, at):
        return at is not None and at <= self.now

    def _after(self, seconds):
        return None if seconds is None else self.now + seconds

    def _wake(self, execution):
        execution.wakeups += 1
        if execution.claim is None and execution.status in ACTIVE:
            execution.due = self.now

    def _settle(self, call, answer):
        call.close(answer.status, answer)
        self._wake(call.execution)

    def _settle_or_retry(self, call, answer):
        if not answer.error or call.failures + 1 >= call.policy.max_attempts:
            self._settle(call, answer)
            return
        call.failures, call.losses = call.failures + 1, 0
        call.status, call.claim = "pending", None
        call.due = self.now + call.policy.initial * 2 ** (call.failures - 1)
        wait = call.policy.schedule_to_start
        call.start_by = None if wait is None else call.due + wait
        call.attempt_end_by = call.heartbeat_by = None

    def _overdue(self, call):
        """The error, and whether it ends the attempt only."""
        policy, name = call.policy, call.function
        if self._is_past(call.close_by):
            within = policy.schedule_to_close
            return _late(
                f"schedule-to-close: {name}() was not done within {within} seconds"
            ), False
        if self._is_past(call.attempt_end_by):
            within = policy.start_to_close
            return _late(f"start-to-close: {name}() did not end within {within} seconds"), True
        if self._is_past(call.heartbeat_by):
            within = policy.heartbeat
            why = f"heartbeat: {name}() gave no sign of life within {within} seconds"
            return _late(why), True
        within = policy.schedule_to_start
        return _late(f"schedule-to-start: {name}() was not started within {within} seconds"), False

    def _ask(self, execution, grace, request):
        """Whatever it awaits raises; if that is nothing, the calls that it makes next do."""
        self._refuse(execution.open_calls, request)
        execution.grace_until = self.now + grace
        execution.pause_requested = False
        if execution.status == "paused":
            execution.status = "waiting" if execution.turn else "scheduled"
        self._wake(execution)

    def _finish(self, execution, status, output=None, error=None):
        for call in execution.open_calls:
            call.close("cancelled")
        execution.status, execution.output, execution.error = status, output, error
        execution.claim = execution.due = execution.deadline = execution.grace_until = None

    def _suspend(self, execution, claim, status):
        if execution.pause_requested:
            execution.status, execution.due, execution.pause_requested = "paused", None, False
        else:
            execution.status = status
            execution.due = self.now if execution.wakeups != claim.wakeups else None

    def _advance(self, execution, claim, answers):
        made_before = len(execution.calls)
        execution.turn += 1
        execution.faults = 0
        if execution.main is None:
            execution.main = self._begin(execution)
        for call in answers:
            call.delivered = execution.turn
            _deliver(call)
        self._run_loop()
        made = execution.calls[made_before:]
        if execution.main.done():
            # The loops differ in whether other tasks still make calls when the main one has ended
            # in the same turn. Nobody sees such calls: they are withdrawn with the commit.
            del execution.calls[made_before:]
            execution.ended_itself = True
            self._finish(execution, **_outcome(execution))
            return
        request = execution.request_since(claim)
        if request is None:
            for call in made:
                self._schedule(call)
        elif made:
            self._refuse(made, request)
            execution.wakeups += 1
        self._suspend(execution, claim, "waiting")

    def _refuse(self, calls, request):
        for call in calls:
            call.close("failed", Answer(error=request))
            call.execution.told.add(request)

    def _schedule(self, call):
        policy = call.policy
        if policy.executor == "engine":
            call.due = self.now + call.argument
        elif policy.executor == "default":
            call.due = self.now
        call.start_by = self._after(policy.schedule_to_start)
        call.close_by = self._after(policy.schedule_to_close)

    def _begin(self, execution):
        def function(name):
            def make(argument):
                future = self.loop.create_future()
                call = Call(
                    execution, len(execution.calls), name, argument, future, turn=execution.turn
                )
                execution.calls.append(call)
                return future

            return make

        names = {name: function(name) for name in POLICIES} | {"x": execution.x}
        source = self.programs[execution.program]
        return self.loop.create_task(_main(source, names, names["asyncio.sleep"]))

    def _run_loop(self):
        for _ in range(12):  # more passes than any of the programs needs
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()


async def _main(source, names, sleep):
    """Runs the source, whose last expression is the output, with `sleep` for asyncio's."""
    tree = ast.parse(source)
    last = tree.body[-1]
    tree.body[-1] = ast.Assign([ast.Name("output", ast.Store())], last.value)
    tree = _DurableSleep().visit(tree)
    code = compile(
        ast.fix_missing_locations(tree), "workflow", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    )
    names["durable_sleep"] = sleep
    running = eval(code, names)
    if inspect.iscoroutine(running):
        await running
    return names["output"]


class _DurableSleep(ast.NodeTransformer):
    def visit_Call(self, node):
        self.generic_visit(node)
        if ast.unparse(node.func) in ("sleep", "asyncio.sleep"):
            node.func = ast.Name("durable_sleep", ast.Load())
        return node


def _deliver(call):
    if call.future.done():  # asyncio cancelled it: nobody awaits it
        return
    if call.answer.error is None:
        # A sleep gives None, also if a person has cut it short with something else.
        call.future.set_result(None if call.function == "asyncio.sleep" else call.answer.value)
        return
    kind, message = call.answer.error
    raised = {
        "Cancelled": lambda: BaseException(f"Cancelled: {message}"),
        "ValueError": lambda: ValueError(message),
        "TimeoutError": lambda: TimeoutError(message),
        "RuntimeError": lambda: RuntimeError(message),
    }
    call.future.set_exception(raised[kind]())


def _outcome(execution):
    exc = execution.main.exception()
    if exc is None:
        return {"status": "completed", "output": execution.main.result()}
    if type(exc) is BaseException and execution.cancel_reason is not None:
        return {"status": "cancelled", "error": ("Cancelled", execution.cancel_reason)}
    return {"status": "failed", "error": (type(exc).__name__, str(exc))}


def _late(why):
    return Answer(error=("TimeoutError", why))


def _given_up(function):
    return (
        f"{function}() was given up: its worker vanished {MAX_LOSSES} times in a row while it "
        "ran. It may be what kills the process."
    )

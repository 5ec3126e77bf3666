"""Random histories of the operations, on the oracle and on the database at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from durable_monty import OrchestratorService, Retry, codec, operations
from durable_monty.exceptions import DurableMontyError
from durable_monty.functions import policy_of
from durable_monty.models import Call, CallStatus, Execution, Snapshot, clock
from durable_monty.operations import Answer, advance, commit
from durable_monty.sandbox import CANCELLED
from tests.proof import oracle
from tests.proof.programs import PROGRAMS
from tests.support import held

START = datetime(2030, 1, 1, tzinfo=UTC)
FUNCTIONS = ["step", "flaky", "brisk", "ask"]
picks = st.integers(min_value=0, max_value=1000)


def options_of(name):
    """As `register_function` takes it."""
    policy = oracle.POLICIES[name]
    return {
        "executor": policy.executor,
        "retry": Retry(policy.max_attempts, initial=policy.initial, jitter=0),
        "schedule_to_start": policy.schedule_to_start,
        "start_to_close": policy.start_to_close,
        "heartbeat": policy.heartbeat,
        "schedule_to_close": policy.schedule_to_close,
    }


class Histories(RuleBasedStateMachine):
    """A rule picks among what there is, so that a history is a list of small numbers."""

    def __init__(self):
        super().__init__()
        clock.offset = timedelta()
        self.oracle = oracle.Oracle(PROGRAMS)
        self.ids = []
        self.claims = []  # of executions: (oracle's, database's)
        self.turns = []  # run and not committed
        self.calls = []  # claims of calls: (oracle's call and token, database's, started call)
        self.said = []  # answers of workers, to be said again
        self.unique = count(1)
        self.threads = ThreadPoolExecutor(1)

    # --- executions ---

    @precondition(lambda self: len(self.ids) < 4)
    @rule(
        program=st.sampled_from(sorted(PROGRAMS)),
        x=st.integers(0, 5),
        deadline=st.sampled_from([None, None, None, 150]),
    )
    def start(self, program, x, deadline):
        self.oracle.start(program, x, deadline)
        names = [name for name in FUNCTIONS if f"{name}(" in PROGRAMS[program]]
        ends = None if deadline is None else timedelta(seconds=deadline)
        self.ids.append(
            OrchestratorService().start_execution(
                PROGRAMS[program], names, {"x": x}, deadline=ends
            )
        )

    @precondition(lambda self: self.ids)
    @rule(pick=picks)
    def claim_execution(self, pick):
        number = pick % len(self.ids)
        execution = self.oracle.executions[number]
        got = operations.claim_executions(1, using="default", only=self.ids[number])
        assert bool(got) == self.oracle.claimable(execution)
        for row in got:
            self.claims.append((self.oracle.claim_execution(execution), row))

    @rule()
    def claim_due_executions(self):
        due = self.oracle.due_executions()
        suspects = [execution for execution in due if execution.claim or execution.faults]
        earliest = min((execution.due for execution in suspects), default=None)
        first = [execution for execution in suspects if execution.due == earliest]
        # Which of several comes first is left to the database: but here a history must be the
        # same a second time.
        only = self._id(first[0]) if len(first) > 1 else None
        got = operations.claim_executions(100, using="default", only=only)
        got.sort(key=lambda row: self.ids.index(str(row.pk)))
        claimed = [self.oracle.executions[self.ids.index(str(row.pk))] for row in got]
        assert sorted(map(id, claimed)) == sorted(map(id, first[:1] or due))
        for execution, row in zip(claimed, got, strict=True):
            self.claims.append((self.oracle.claim_execution(execution), row))

    @precondition(lambda self: self.claims)
    @rule(pick=picks)
    def run_turn(self, pick):
        """The claim is kept: another run of it, later, must come to nothing."""
        expected, row = self.claims[pick % len(self.claims)]
        self.turns.append((self.oracle.run(expected), self._outcomes_of(row)))

    @precondition(lambda self: self.turns)
    @rule(pick=picks)
    def commit_turn(self, pick):
        ran, outcomes = self.turns.pop(pick % len(self.turns))
        commit.commit(outcomes, using="default")
        self.oracle.commit(ran)

    @precondition(lambda self: self.ids)
    @rule(
        pick=picks,
        disturb=st.sampled_from(["answer", "answer", "cancel", "pause", "time", "other worker"]),
        good=st.booleans(),
    )
    def disturb_turn(self, pick, disturb, good):
        """Something happens between a turn and its commit."""
        held = len(self.claims)
        self.claim_execution(pick)
        if len(self.claims) == held:
            return
        self.run_turn(held)
        execution = self.claims[held][0].execution
        if disturb == "answer" and execution.open_calls:
            self._answer_by_hand(execution.open_calls[pick % len(execution.open_calls)], good)
        elif disturb in {"cancel", "pause"}:
            arguments = ("a reason",) if disturb == "cancel" else ()
            self._both(disturb, pick, *arguments, real_arguments=["a reason"])
        elif disturb == "time":
            self.move_clock(31)
            self.sweep()
        elif disturb == "other worker":
            self.move_clock(oracle.LEASE + 1)
            self.claim_due_executions()
        self.states_match()
        self.commit_turn(len(self.turns) - 1)

    @precondition(lambda self: connection.features.has_select_for_update and self.turns)
    @rule(pick=picks)
    def commit_locked_turn(self, pick):
        """Another transaction has locked the execution: nothing is written."""
        _ran, outcomes = self.turns[pick % len(self.turns)]
        with held(*[outcome.execution.pk for outcome in outcomes]):
            assert commit.commit(outcomes, using="default", blocked=[]) == {}

    @rule()
    def advance_due_executions(self):
        """As a worker does that nobody disturbs."""
        held = len(self.claims)
        self.claim_due_executions()
        while len(self.claims) > held:
            self.run_turn(len(self.claims) - 1)
            self.commit_turn(len(self.turns) - 1)
            self.claims.pop()
            self.states_match()

    @precondition(lambda self: self.ids)
    @rule(pick=picks, grace=st.sampled_from([5, oracle.GRACE, 500]))
    def cancel(self, pick, grace):
        reason = f"reason {next(self.unique)}"
        self._both("cancel", pick, reason, grace=grace)

    @precondition(lambda self: self.ids)
    @rule(pick=picks, sure=st.integers(0, 3))
    def terminate(self, pick, sure):
        if not sure:  # else few histories would get far
            self._both("terminate", pick, f"reason {next(self.unique)}")

    @precondition(lambda self: self.ids)
    @rule(pick=picks)
    def pause(self, pick):
        self._both("pause", pick, real_arguments=["month end"])

    @precondition(lambda self: self.ids)
    @rule(pick=picks)
    def resume(self, pick):
        self._both("resume", pick)

    @rule()
    def lose_snapshots(self):
        """The journal is the truth: what follows is replayed."""
        Snapshot.objects.all().delete()

    # --- calls ---

    @rule(functions=st.sets(st.sampled_from(FUNCTIONS[:3]), min_size=1))
    def claim_calls(self, functions):
        token, expected = self.oracle.claim_calls(functions)
        claimed = operations.claim_calls(sorted(functions), ["default"], 100, using="default")
        by_pk = {self._pk(call): call for call in expected}
        assert {claim.pk for claim in claimed} == set(by_pk)
        for claim in sorted(claimed, key=lambda claim: expected.index(by_pk[claim.pk])):
            self.calls.append([by_pk[claim.pk], token, claim, None])

    @precondition(lambda self: self._unstarted())
    @rule(pick=picks)
    def start_attempt(self, pick):
        unstarted = self._unstarted()
        self._start_attempt(unstarted[pick % len(unstarted)])

    @precondition(lambda self: self.calls)
    @rule(pick=picks, good=st.booleans())
    def settle(self, pick, good):
        """Run or lost meanwhile, started or not."""
        self._settle(self.calls.pop(pick % len(self.calls)), good)

    @rule(good=st.booleans())
    def run_due_calls(self, good):
        """As a worker does that nobody disturbs."""
        held = len(self.calls)
        self.claim_calls(set(FUNCTIONS[:3]))
        while len(self.calls) > held:
            self._start_attempt(self.calls[-1])
            self._settle(self.calls.pop(), good)
            self.states_match()

    @precondition(lambda self: self.said)
    @rule(pick=picks)
    def say_the_same_again(self, pick):
        self._say(*self.said[pick % len(self.said)])

    @precondition(lambda self: connection.features.has_select_for_update and self._started())
    @rule(pick=picks)
    def settle_locked_call(self, pick):
        """Another transaction has locked the execution: nothing is written, and who waits for it
        is told."""
        started = self._started()
        call, _token, claim, _row = started[pick % len(started)]
        answers, blocked = [(claim, Answer("1"))], []
        with held(self._id(call.execution)):
            assert operations.settle_attempts(answers, using="default", blocked=blocked) == []
        assert blocked == answers

    @precondition(lambda self: self.oracle.calls)
    @rule(pick=picks, good=st.booleans())
    def settle_by_hand(self, pick, good):
        self._answer_by_hand(self.oracle.calls[pick % len(self.oracle.calls)], good)

    @precondition(lambda self: self._started())
    @rule(pick=picks)
    def heartbeat(self, pick):
        started = self._started()
        call, token, claim, _row = started[pick % len(started)]
        beat = operations.beat_call(claim, None, "", using="default")
        assert beat == self.oracle.beat(call, token)

    @precondition(lambda self: self.calls)
    @rule(pick=picks)
    def renew(self, pick):
        call, token, claim, _row = self.calls[pick % len(self.calls)]
        operations.renew_calls([claim], using="default")
        self.oracle.renew(call, token)

    @precondition(lambda self: self._unstarted())
    @rule(pick=picks)
    def release(self, pick):
        unstarted = self._unstarted()
        call, token, claim, _row = unstarted[pick % len(unstarted)]
        operations.release_calls([claim], using="default")
        self.oracle.release(call, token)

    # --- time ---

    @rule(seconds=st.sampled_from([1, 6, 11, 31, 46, 201]))
    def move_clock(self, seconds):
        clock.offset += timedelta(seconds=seconds)
        self.oracle.now += seconds

    @rule()
    def lose_workers(self):
        """All that was claimed is never heard of again."""
        self.claims, self.turns, self.calls = [], [], []
        self.move_clock(oracle.LEASE + 1)

    @rule()
    def sweep(self):
        operations.settle_timers(100, using="default")
        self.oracle.fire_timers()
        operations.settle_overdue(100, using="default")
        self.oracle.time_out_calls()
        operations.expire_executions(100, using="default")
        self.oracle.expire_executions()

    # --- what must hold ---

    @invariant()
    def states_match(self):
        rows = {
            str(row.pk): row
            for row in Execution.objects.prefetch_related("calls__attempts").order_by("pk")
        }
        assert list(rows) == sorted(self.ids)
        for pk, execution in zip(self.ids, self.oracle.executions, strict=True):
            assert seen_in(rows[pk], execution.ended_itself) == expected_of(execution)

    def teardown(self):
        try:
            self._finish_everything()
        finally:
            self.oracle.close()
            self.threads.shutdown()
            Execution.objects.all().delete()

    def _finish_everything(self):
        self.lose_workers()
        for _ in range(200):
            if all(execution.is_finished for execution in self.oracle.executions):
                break
            self._work()
            self.states_match()
        else:
            raise AssertionError("something does not come to its end")
        assert not Snapshot.objects.exists()
        assert not Call.objects.open().exists()

    def _work(self):
        """A round of a worker whose functions succeed, and of people who answer and resume."""
        before = repr([expected_of(execution) for execution in self.oracle.executions])
        for number, execution in enumerate(self.oracle.executions):
            if execution.status == "paused":
                self.resume(number)
        self.sweep()
        self.states_match()
        self.advance_due_executions()
        self.run_due_calls(good=True)
        for number, call in enumerate(self.oracle.calls):
            if call.is_open and call.function == "ask":
                self.settle_by_hand(number, good=True)
        if before == repr([expected_of(execution) for execution in self.oracle.executions]):
            self.move_clock(31)

    # --- how ---

    def _both(self, verb, pick, *arguments, real_arguments=None, **options):
        number = pick % len(self.ids)
        refused = refusal_of(
            getattr(operations, f"{verb}_execution"),
            self.ids[number],
            *(real_arguments or arguments),
            using="default",
            **options,
        )
        model = getattr(self.oracle, verb)
        assert refused == model(self.oracle.executions[number], *arguments, **options)

    def _outcomes_of(self, row):
        """Runs a turn and keeps it from being committed."""
        outcomes = []
        advance.commit, committing = lambda ran, using: outcomes.extend(ran) or {}, advance.commit
        try:
            operations.advance_executions([row], using="default", threads=self.threads)
        finally:
            advance.commit = committing
        return outcomes

    def _unstarted(self):
        return [held for held in self.calls if held[3] is None]

    def _started(self):
        return [held for held in self.calls if held[3] is not None]

    def _start_attempt(self, held):
        call, token, claim, _row = held
        rows = operations.start_attempts([claim], using="default")
        assert bool(rows) == self.oracle.start_attempt(call, token)
        held[3] = rows[0] if rows else None

    def _settle(self, held, good):
        call, token, claim, row = held
        expected, real = self._answer(good)
        if not good:
            failures = 0 if row is None else row.failures
            policy = policy_of(call).retry_policy
            real = real.under(policy, ValueError(), failures + 1)
        self.said.append((call, token, claim, expected, real))
        self._say(call, token, claim, expected, real)

    def _say(self, call, token, claim, expected, real):
        refused = refusal_of(operations.settle_attempt, claim, real, using="default")
        assert refused == self.oracle.settle(call, token, expected)

    def _answer_by_hand(self, call, good):
        expected, real = self._answer(good)
        refused = refusal_of(
            operations.settle_by_hand,
            self._id(call.execution),
            call.number,
            real,
            using="default",
        )
        assert refused == self.oracle.settle_by_hand(call, expected)

    def _answer(self, good):
        number = next(self.unique)
        if good:
            return oracle.Answer(number), Answer(codec.encode(number))
        error = ("ValueError", f"failure {number}")
        return oracle.Answer(error=error), Answer.of_error(*error)

    def _id(self, execution):
        return self.ids[self.oracle.executions.index(execution)]

    def _pk(self, call):
        return Call.objects.get(execution=self._id(call.execution), call_id=call.number).pk


def refusal_of(operation, *arguments, **options):
    """The name of the error with which it was refused."""
    try:
        operation(*arguments, **options)
    except DurableMontyError as exc:
        return type(exc).__name__
    return None


def expected_of(execution):
    """All that can be observed of an execution, as the oracle has it."""
    return {
        "status": execution.status,
        "turn": execution.turn,
        "due": execution.due,
        "claimed": execution.claim is not None,
        "faults": execution.faults,
        "pause_requested": execution.pause_requested and not execution.is_finished,
        "deadline": execution.deadline,
        "grace_until": execution.grace_until,
        "output": execution.output,
        "error": execution.error,
        "calls": [expected_of_call(call) for call in execution.calls],
    }


def expected_of_call(call):
    return {
        "call": (call.number, call.function, call.argument, call.turn),
        "status": call.status,
        "result": call.answer.value if call.answer and not call.answer.error else None,
        "error": call.answer.error if call.answer else None,
        "delivered": call.delivered,
        "due": call.due,
        "deadline": call.deadline,
        "tries": (call.attempt, call.failures, call.losses),
        "attempts": call.attempts,
    }


def seen_in(row, ended_itself):
    """The same, as the database has it, but for what was called and withdrawn in its last turn."""
    calls = sorted(row.calls.all(), key=lambda call: call.call_id)
    if ended_itself:
        assert {call.status for call in calls if call.turn == row.turn} <= {CallStatus.CANCELLED}
        calls = [call for call in calls if call.turn != row.turn]
    return {
        "status": row.status,
        "turn": row.turn,
        "due": seconds(row.due_at),
        "claimed": row.claim is not None,
        "faults": row.faults,
        "pause_requested": row.pause_requested and not row.is_finished,
        "deadline": seconds(row.deadline),
        "grace_until": seconds(row.grace_until),
        "output": None if row.output is None else codec.decode(row.output),
        "error": (row.error_type, row.error_message) if row.error_type else None,
        "calls": [seen_in_call(call) for call in calls],
    }


def seen_in_call(row):
    error = (row.error_type.replace(CANCELLED, "Cancelled"), row.error_message)
    return {
        "call": (row.call_id, row.function, codec.decode(row.args)[0], row.turn),
        "status": row.status,
        "result": codec.decode(row.result) if row.status == CallStatus.COMPLETED else None,
        "error": error if row.error_type else None,
        "delivered": row.delivered_turn,
        "due": seconds(row.due_at),
        "deadline": seconds(row.deadline_at),
        "tries": (row.attempt, row.failures, row.losses),
        "attempts": [(attempt.number, attempt.outcome) for attempt in row.attempts.all()],
    }


def seconds(at):
    return None if at is None else (at - START).total_seconds()

"""Replay from the journal equals the run itself, whatever way the answers came."""

import random
from dataclasses import replace

import pytest
from hypothesis import example, given, settings, strategies as st

from durable_monty import codec
from durable_monty.exceptions import HostFault, ReplayMismatch
from durable_monty.sandbox import (
    Completed,
    Interpreter,
    RecordedTurn,
    Settled,
    Suspended,
    Workflow,
    replay,
)
from tests.sandbox.test_interpreter import LIMITS, NOON, answer

FUNCTIONS = {"f": "f", "g": "g"}


def workflow(source):
    return Workflow(source, FUNCTIONS, "{}", "seed")


def recorded(turn, result, answers=None, **options):
    return RecordedTurn(
        turn, answers or {}, {call.call_id: call for call in result.calls}, **options
    )


def value_of(call):
    """What the world answers: it depends on the call alone."""
    if call.kind == "timer":
        return answer(None)
    number = sum(codec.decode(call.args))
    if number % 7 == 3:
        # All say the same: of two in a gather, the first to come is raised.
        return Settled(error_type="ValueError", error_message="no")
    return answer(number * 2 + 1)


class Run:
    """Drives a workflow with the answers in a random order, through random loads, and keeps the
    journal that the engine would keep."""

    def __init__(self, source, chance):
        self.workflow, self.chance = workflow(source), chance
        self.journal, self.open = [], {}
        self.interpreter = Interpreter(self.workflow, LIMITS, lambda: NOON)
        self.turn = self.interpreter.start()
        self.journal.append(recorded(1, self.turn))
        self._note()

    def _note(self):
        self.open |= {call.call_id: call for call in self.turn.calls if call.kind != "clock"}

    def step(self):
        after_load = self.chance.random() < 0.5
        if after_load:
            self._load()
        batch = self.chance.sample(sorted(self.open), self.chance.randint(1, len(self.open)))
        answers = {call_id: value_of(self.open.pop(call_id)) for call_id in batch}
        self.turn = self.interpreter.resume(answers)
        self.journal.append(
            recorded(len(self.journal) + 1, self.turn, answers, after_load=after_load)
        )
        self._note()

    def _load(self):
        dump = self.interpreter.dump()
        self.interpreter.close()
        self.interpreter = Interpreter(self.workflow, LIMITS, lambda: NOON)
        self.interpreter.load(dump)

    def is_suspended(self):
        return isinstance(self.turn.outcome, Suspended)

    def finish(self):
        while self.is_suspended():
            self.step()
        self.interpreter.close()
        return self.turn.outcome


# Programs whose branches share no state, so that the order of answers cannot matter.
numbers = st.integers(0, 20)
leaves = st.one_of(
    numbers.map(lambda n: f"await f({n})"),
    numbers.map(lambda n: f"await g({n}, {n})"),
    st.just("await asyncio.sleep(1)"),
    numbers.map(str),
)


def awaitable(part):
    return part.removeprefix("await ") if part.startswith("await ") else f"same({part})"


def branches(parts):
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(
            lambda items: f"await gather({', '.join(map(awaitable, items))})"
        ),
        st.tuples(parts, parts).map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        parts.map(lambda part: f"await safe({awaitable(part)})"),
    )


expressions = st.recursive(leaves, branches, max_leaves=8)
PRELUDE = """
import asyncio
from asyncio import gather
async def same(value):
    return value
async def safe(call):
    try:
        return await call
    except ValueError as e:
        return str(e)
async def main():
    out = []
"""


def program(parts):
    body = "".join(f"    out.append(await safe(wrap{i}()))\n" for i in range(len(parts)))
    wraps = "".join(f"async def wrap{i}():\n    return {part}\n" for i, part in enumerate(parts))
    return (
        PRELUDE.replace("async def main", wraps + "async def main") + body + "    return out\n"
        "await main()"
    )


programs = st.lists(expressions, min_size=1, max_size=3).map(program)


@settings(max_examples=100, deadline=None)
@given(programs, st.integers(0, 2**32))
@example(program(["await gather(g(19, 19), same([await f(1), await f(1)]), f(0))"]), 136)
@example(program(["await f(0)", "await gather(g(19, 19), f(0), g(12, 12))"]), 0)
def test_any_order_of_answers_gives_the_same_output(source, seed):
    first = Run(source, random.Random(seed)).finish()
    second = Run(source, random.Random(seed + 1)).finish()
    assert isinstance(first, Completed), first
    assert first == second


@settings(max_examples=60, deadline=None)
@given(programs, st.integers(0, 2**32))
def test_replay_equals_the_run_after_every_turn(source, seed):
    run = Run(source, random.Random(seed))
    while run.is_suspended():
        rebuilt = replay(run.workflow, run.journal, LIMITS, lambda: NOON)
        batch = {min(run.open): value_of(run.open[min(run.open)])}
        with rebuilt:
            expected = _next_turn(run, batch)
            assert rebuilt.resume(batch) == expected
        run.step()
    run.interpreter.close()


def _next_turn(run, batch):
    """What the run itself would do, tried on a copy of it."""
    with Interpreter(run.workflow, LIMITS, lambda: NOON) as copy:
        copy.load(run.interpreter.dump())
        return copy.resume(batch)


CLOCKED = """
import random
from datetime import datetime
total = 0
for i in range(4):
    total += await f(7 * (i + random.randint(0, 5)))
    print(datetime.now())
[total, str(datetime.now())]
"""


def journal_of(source, turns):
    run = Run(source, random.Random(0))
    for _ in range(turns - 1):
        run.step()
    run.interpreter.close()
    return run


def test_replay_from_a_snapshot_needs_only_the_turns_after_it():
    run = Run(CLOCKED, random.Random(1))
    run.step()
    dump = run.interpreter.dump()
    run.step()
    run.step()
    tail = run.journal[2:]
    last = {min(run.open): value_of(run.open[min(run.open)])}
    with replay(run.workflow, tail, LIMITS, lambda: NOON, dump=dump) as rebuilt:
        assert rebuilt.resume(last).outcome == run.interpreter.resume(last).outcome
    run.interpreter.close()


def test_replay_prints_nothing_and_lives_within_the_limits_afterwards():
    source = "print('x' * 900)\nawait f(0)\nprint('y' * 900)\nawait f(1)\nwhile True: await f(2)"
    run = journal_of(source, 2)
    tight = replace(LIMITS, log_bytes=100, calls=3)
    with replay(run.workflow, run.journal, tight, lambda: NOON, printed=1802) as rebuilt:
        turn = rebuilt.resume({1: answer(0)})
        assert turn.log == ""
        for call_id in (2, 3):
            assert isinstance(turn.outcome, Suspended)
            turn = rebuilt.resume({call_id: answer(0)})
        assert isinstance(turn.outcome, Suspended)
        assert "MAX_CALLS" in rebuilt.resume({4: answer(0)}).outcome.message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            "await f(1)\nawait f(99)\nawait f(3)",
            "Replay differs from the journal at turn 2, call 1: recorded f [2] {}, "
            "replayed f [99] {}.",
        ),
        (
            "await f(1)\nawait g(2)\nawait f(3)",
            "Replay differs from the journal at turn 2, call 1: recorded f [2] {}, "
            "replayed g [2] {}.",
        ),
        (
            "await f(1)",
            "Replay differs from the journal at turn 2: recorded a suspension, "
            "replayed the end of the workflow.",
        ),
        (
            "await f(1)\nraise ValueError('new')",
            "Replay differs from the journal at turn 2: recorded a suspension, "
            "replayed ValueError: new.",
        ),
        (
            "from asyncio import gather\nawait gather(f(1), f(2))",
            "Replay differs from the journal at turn 1, call 1: recorded no such call, "
            "replayed f [2] {}.",
        ),
        (
            "import datetime\nx = f(1)\ndatetime.datetime.now()\nawait x\nawait f(2)",
            "Replay differs from the journal at turn 1, call 1: recorded no such call, "
            "replayed datetime.now().",
        ),
    ],
)
def test_changed_source_is_a_mismatch(changed, message):
    run = journal_of("await f(1)\nawait f(2)\nawait f(4)", 2)
    with pytest.raises(ReplayMismatch) as caught:
        replay(workflow(changed), run.journal, LIMITS, lambda: NOON)
    assert str(caught.value) == message


def test_call_that_replay_does_not_make_is_a_mismatch():
    run = journal_of("from asyncio import gather\nawait gather(f(1), f(2))\nawait f(3)", 1)
    with pytest.raises(ReplayMismatch) as caught:
        replay(workflow("await f(1)\nawait f(2)"), run.journal, LIMITS, lambda: NOON)
    assert str(caught.value) == (
        "Replay differs from the journal at turn 1, call 1: recorded f [2] {}, "
        "replayed no such call."
    )


def test_addresses_may_differ_in_replay():
    source = "class A: pass\na = A()\nawait f(1)\nawait f(str(a))\nawait f(2)"
    run = Run(source, random.Random(0))
    run.open[0] = run.open[0]._replace(args="[1]")
    moved = [
        run.journal[0],
        RecordedTurn(
            2,
            {0: answer(1)},
            {1: run.journal[0].calls[0]._replace(call_id=1, args='["<A object at 0xdeadbeef>"]')},
        ),
    ]
    run.interpreter.close()
    with replay(run.workflow, moved, LIMITS, lambda: NOON) as rebuilt:
        assert isinstance(rebuilt.resume({1: answer(1)}).outcome, Suspended)


def test_limit_that_fires_in_replay_is_the_hosts_fault():
    run = journal_of("x = 'a' * 3_000_000\nawait f(1)\nawait f(2)", 2)
    with pytest.raises(HostFault, match="a limit was broken in replay"):
        replay(run.workflow, run.journal, replace(LIMITS, memory=100_000), lambda: NOON)


def test_lowered_value_limit_does_not_refuse_what_was_accepted():
    run = journal_of("await f(1)\nawait f(2)\nawait f(4)", 2)
    with replay(
        run.workflow, run.journal, replace(LIMITS, value_bytes=2), lambda: NOON
    ) as rebuilt:
        assert "TypeError" in repr(rebuilt.resume({1: answer(1)}).outcome)

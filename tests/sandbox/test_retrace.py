"""A journal that runs again to be looked at shows the turns as they were."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from durable_monty.exceptions import HostFault, ReplayMismatch
from durable_monty.sandbox import Completed, Failed, Suspended, retrace
from tests.sandbox.test_interpreter import LIMITS, NOON
from tests.sandbox.test_replay import CLOCKED, Run, journal_of, programs, workflow


def trace(run, *, limits=LIMITS, may_end=True, journal=None, source=None):
    program = run.workflow if source is None else workflow(source)
    journal = run.journal if journal is None else journal
    return list(retrace(program, journal, limits, lambda: NOON, may_end=may_end))


def turns_of(run):
    """All turns of a run, which ends with them."""
    turns = [run.turn]
    while run.is_suspended():
        run.step()
        turns.append(run.turn)
    run.interpreter.close()
    return turns


@settings(max_examples=40, deadline=None)
@given(programs, st.integers(0, 2**32))
def test_turns_are_as_they_were(source, seed):
    run = Run(source, random.Random(seed))
    turns = turns_of(run)

    assert trace(run) == turns


def test_what_was_printed_and_the_clock_are_as_they_were():
    run = Run(CLOCKED, random.Random(3))
    turns = turns_of(run)

    traced = trace(run)

    assert [turn.log for turn in traced] == [turn.log for turn in turns]
    assert isinstance(traced[-1].outcome, Completed)
    assert [type(turn.outcome) for turn in traced[:-1]] == [Suspended] * (len(turns) - 1)


def test_the_last_turn_may_raise():
    run = Run("await f(1)\nraise ValueError('no')", random.Random(0))
    turns_of(run)

    outcome = trace(run)[-1].outcome

    assert isinstance(outcome, Failed)
    assert outcome.message == "no"


def test_an_end_that_was_not_recorded_is_a_mismatch():
    run = journal_of("await f(1)\nawait f(2)\nawait f(4)", 2)
    message = (
        "Replay differs from the journal at turn 2: recorded a suspension, "
        "replayed the end of the workflow."
    )
    with pytest.raises(ReplayMismatch) as caught:
        trace(run, source="await f(1)", may_end=False)
    assert str(caught.value) == message
    # Not the last turn: it must not have ended, whatever the last may do.
    longer = [*run.journal, replace(run.journal[1], turn=3)]
    with pytest.raises(ReplayMismatch) as caught:
        trace(run, source="await f(1)", journal=longer)
    assert str(caught.value) == message


def test_a_limit_is_the_hosts_fault():
    run = journal_of("x = 'a' * 3_000_000\nawait f(1)\nawait f(2)", 2)

    with pytest.raises(HostFault, match="a limit was broken in replay"):
        trace(run, limits=replace(LIMITS, memory=100_000))


def test_who_stops_looking_gives_the_sandbox_back():
    run = journal_of("for n in range(9):\n    await f(0)", 5)
    for _ in range(2 * LIMITS.processes):
        turns = retrace(run.workflow, run.journal, LIMITS, lambda: NOON, may_end=False)
        next(turns)
        turns.close()
    assert len(trace(run, may_end=False)) == 5

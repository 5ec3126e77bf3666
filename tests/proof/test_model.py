"""Random histories: the database must be where the oracle is after every step, and everything
must come to the end that the oracle says."""

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from durable_monty.models import clock
from durable_monty.operations import claim as claim_module
from tests.proof.machine import FUNCTIONS, START, Histories, options_of
from tests.support import stop_clock


@pytest.fixture
def still_clock(monkeypatch):
    """Time passes only where a history says so."""
    stop_clock(monkeypatch, START)
    monkeypatch.setattr(clock, "offset", timedelta())


@pytest.fixture
def functions(register):
    for name in FUNCTIONS:
        register(name, lambda value: value, **options_of(name))


@pytest.mark.django_db(transaction=True)
def test_histories(proof, still_clock, functions, monkeypatch):
    # One claim takes all that is due, lost or not.
    monkeypatch.setattr(claim_module, "_PORTABLE_EVERY", 0.0)
    monkeypatch.setattr(claim_module, "_portable_at", defaultdict(float))
    # No shrinking: a history of 40 steps can be read, and shrinking one takes minutes.
    run_state_machine_as_test(
        seed(proof.seed)(Histories),
        settings=settings(
            max_examples=proof.pick(quick=40, long=500),
            stateful_step_count=proof.pick(quick=40, long=80),
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )

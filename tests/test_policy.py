import random
from math import inf, nan

import pytest

from durable_monty import NonRetryable, Retry, RetryAfter
from durable_monty.durations import LONGEST
from durable_monty.exceptions import FunctionError
from durable_monty.policy import Timeouts

ABSURD = (-1, 1e13, 1e300, inf, nan)
TIMES = (
    "Retry: initial and max_interval must be from 0 to 3,153,600,000 seconds (100 years), and "
    "backoff from 1 to 1,000."
)


def test_waits_grow_to_a_maximum():
    retry = Retry(max_attempts=9, initial=1, backoff=3, max_interval=20, jitter=0)
    assert [retry.wait(ValueError(), failures) for failures in range(1, 6)] == [1, 3, 9, 20, 20]


def test_very_many_attempts_do_not_overflow():
    assert Retry(max_attempts=10_000, jitter=0).wait(ValueError(), 9_000) == 300


def test_jitter_spreads_the_waits():
    retry = Retry(max_attempts=2, initial=10, jitter=0.2)
    random.seed(1)
    waits = [retry.wait(ValueError(), 1) for _ in range(200)]
    assert 8 <= min(waits) < 9
    assert 11 < max(waits) <= 12


def test_attempts_are_counted():
    retry = Retry(max_attempts=3, jitter=0)
    assert [retry.wait(ValueError(), failures) for failures in (1, 2, 3, 4)] == [1, 2, None, None]
    assert Retry().wait(ValueError(), 1) is None


@pytest.mark.parametrize(
    ("exc", "wait"),
    [
        (OSError(), 1),
        (ConnectionError(), 1),
        (PermissionError(), None),  # non-retryable, though an OSError
        (ValueError(), None),  # not of retry_on
        (NonRetryable("no"), None),
        (SystemExit(1), None),
        (RetryAfter(42), 42),
    ],
)
def test_which_exceptions_are_retried(exc, wait):
    retry = Retry(max_attempts=5, jitter=0, retry_on=(OSError,), non_retryable=(PermissionError,))
    assert retry.wait(exc, 1) == wait


def test_retry_after_needs_an_attempt_that_is_left():
    assert Retry(max_attempts=2).wait(RetryAfter(5), 2) is None
    assert str(RetryAfter(5)) == "The function asked to be tried again in 5 s."
    # As a server's header has it:
    assert str(RetryAfter("30")) == "The function asked to be tried again in 30 s."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_attempts": 0}, "Retry: max_attempts is 0; it must be >= 1."),
        ({"max_attempts": nan}, "Retry: max_attempts is nan; it must be >= 1."),
        *(({name: value}, TIMES) for name in ("initial", "max_interval") for value in ABSURD),
        *(({"backoff": value}, TIMES) for value in (0.5, *ABSURD)),
        ({"jitter": 2}, "Retry: jitter is 2; it must be between 0 and 1."),
        ({"jitter": nan}, "Retry: jitter is nan; it must be between 0 and 1."),
        ({"retry_on": [OSError]}, "Retry: retry_on must be a tuple of exception classes."),
        ({"retry_on": OSError}, "Retry: retry_on must be a tuple of exception classes."),
        (
            {"non_retryable": ("OSError",)},
            "Retry: non_retryable must be a tuple of exception classes.",
        ),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(FunctionError) as caught:
        Retry(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("seconds", [0, *ABSURD])
def test_timeouts_are_positive_and_end_some_day(seconds):
    with pytest.raises(FunctionError) as caught:
        Timeouts(start_to_close=seconds)
    assert str(caught.value) == (
        f"start_to_close is {seconds}; it must be more than 0 and at most "
        "3,153,600,000 seconds (100 years), or None."
    )


def test_the_longest_policy_can_be_computed():
    retry = Retry(max_attempts=inf, initial=LONGEST, backoff=1000, max_interval=LONGEST, jitter=0)
    assert retry.wait(ValueError(), 10**6) == LONGEST


@pytest.mark.parametrize(
    ("seconds", "wait"),
    [(1.7e12, 30 * 86_400), (inf, 30 * 86_400), (1e300, 30 * 86_400), (nan, 0), (-5, 0)],
)
def test_retry_after_is_capped(seconds, wait):
    assert Retry(max_attempts=2).wait(RetryAfter(seconds), 1) == wait

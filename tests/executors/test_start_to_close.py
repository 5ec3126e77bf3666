import time

import pytest

from durable_monty.executors.django_q import task
from durable_monty.executors.django_q.task import Invocation


@pytest.fixture(autouse=True)
def _keep_connections(monkeypatch):
    monkeypatch.setattr(task, "drop_connections", lambda: None)


def overrun():
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pass


@pytest.mark.parametrize("left_of_django_q", [0, 60])
def test_running_function_is_stopped(register, left_of_django_q):
    register("slow", overrun, start_to_close=0.05)
    invocation = Invocation(left_of_django_q)
    with pytest.raises(TimeoutError) as caught:
        invocation("slow", overrun, (), {})
    assert str(caught.value) == "start-to-close: slow() did not end within 0.05 seconds"
    assert invocation.overran


def test_shorter_limit_of_django_q_counts(register):
    register("slow", overrun, start_to_close=60)
    with pytest.raises(TimeoutError, match="the timeout in Q_CLUSTER"):
        Invocation(0.05)("slow", overrun, (), {})


def test_function_that_ends_in_time_is_left_alone(register):
    register("quick", lambda: 7, start_to_close=60)
    invocation = Invocation(0)
    assert invocation("quick", lambda: 7, (), {}) == 7
    assert not invocation.overran

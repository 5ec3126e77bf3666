import logging
from datetime import timedelta

import pytest

from durable_monty import FUNCTION_REGISTRY, OrchestratorService, conf, register_function
from durable_monty.models import clock


def pytest_addoption(parser):
    group = parser.getgroup("durable_monty")
    group.addoption("--proof", choices=["quick", "long"], default="quick", help="How far it goes.")
    group.addoption("--proof-seed", type=int, default=1, help="Other histories and points.")


@pytest.fixture
def service():
    return OrchestratorService()


@pytest.fixture
def move_clock(monkeypatch):
    """Moves the database's time, for this process, by so many seconds."""

    def move(seconds):
        monkeypatch.setattr(clock, "offset", clock.offset + timedelta(seconds=seconds))

    return move


@pytest.fixture
def durable_settings(settings):
    """Changes single values of DURABLE_MONTY."""

    def change(**values):
        settings.DURABLE_MONTY = {**settings.DURABLE_MONTY, **values}
        return conf.current()

    return change


@pytest.fixture
def unchecked(durable_settings):
    """Starts sources that can only fail."""
    durable_settings(CHECK="off")


@pytest.fixture
def log(caplog):
    """What the package logged: `log.records`."""
    logger = logging.getLogger("durable_monty")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture
def register():
    """Registers functions for one test: `register("name", func, retry=...)`."""
    names = []

    def add(name, func, **policy):
        names.append(name)
        return register_function(name, **policy)(func)

    yield add
    for name in names:
        FUNCTION_REGISTRY.remove(name)

"""The fixture for pytest. The entry point loads this module in every project, so it imports
nothing of Django."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from durable_monty.testing.durable import Durable


def pytest_configure(config: pytest.Config) -> None:
    manager = config.pluginmanager
    has_django = manager.hasplugin("django") or manager.hasplugin("pytest_django.plugin")
    fixtures = _WithDatabase() if has_django else _WithoutPytestDjango()
    manager.register(fixtures, "durable_monty_fixtures")


class _WithDatabase:
    # Its `db` is an argument: pytest-django makes the databases of tests that ask for one so.
    @pytest.fixture
    def durable(self, db: None) -> Iterator[Durable]:
        """Runs executions in the test's own thread, connection and transaction.

        The test has the database, as by the fixture `db` of pytest-django.
        """
        yield from _durable()


class _WithoutPytestDjango:
    @pytest.fixture
    def durable(self) -> Iterator[Durable]:
        """Runs executions in the test's own thread, connection and transaction."""
        yield from _durable()


def _durable() -> Iterator[Durable]:
    from durable_monty.testing.mixin import make_durable

    with closing(make_durable()) as durable:
        yield durable

from types import ModuleType

import pytest

from durable_monty.models import clock
from durable_monty.operations import postgresql
from tests.doctor.reports import NOW


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    """Stops the database's clock, for this process."""
    fixed = f"'{NOW}'"
    monkeypatch.setattr(clock, "sql_now", lambda using: fixed)
    # The statements for PostgreSQL are made when their modules are imported.
    of_statements = f"({fixed}::timestamp AT TIME ZONE 'UTC')"
    modules = [value for value in vars(postgresql).values() if isinstance(value, ModuleType)]
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, str) and clock.SQL_NOW in value:
                statement = value.replace(clock.SQL_NOW, of_statements)
                monkeypatch.setattr(module, name, statement)

from __future__ import annotations

import pytest

from durable_monty.functions import FUNCTION_REGISTRY

_entries = {}


@pytest.fixture(autouse=True)
def functions_of_modules():
    """Registers the functions of the modules for these tests only: others list all functions."""
    for entry in _entries.values():
        FUNCTION_REGISTRY.add(entry)
    yield
    for name, entry in [*FUNCTION_REGISTRY.items()]:
        if entry.func.__module__.startswith("tests.workflows.modules"):
            _entries[name] = entry
            FUNCTION_REGISTRY.remove(name)

from __future__ import annotations

import importlib
import sys

import pytest

from durable_monty import WORKFLOW_REGISTRY
from durable_monty.functions import FUNCTION_REGISTRY

REFUND = '''"""Workflows of a shop."""

from dataclasses import dataclass

from durable_monty import workflow
from tests.app.workflows import add, double as twice

RATE = 3


@dataclass
class Line:
    price: int


def total(lines: list[Line]) -> int:
    return sum(line.price for line in lines)


@workflow
async def refund(number: int, *, reason: str = "broken", **more: int) -> str:
    """Gives the money back."""
    lines = [Line(number), Line(RATE)]
    amount = await add(total(lines), await twice(number))
    print(sorted(more.items()))
    return f"{amount} for {reason}"
'''

_entries = {}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Writes a module and imports it: `load(source)`, again after an edit too."""
    before = dict(WORKFLOW_REGISTRY)
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set()

    def do(source=REFUND, name="shop_workflows"):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        # The time of a file has whole seconds in a .pyc.
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
        try:
            importlib.invalidate_caches()
            sys.modules.pop(name, None)
            loaded.add(name)
            return importlib.import_module(name)
        finally:
            sys.dont_write_bytecode = kept

    yield do
    for name in loaded:
        sys.modules.pop(name, None)
    for name in WORKFLOW_REGISTRY.keys() - before.keys():
        WORKFLOW_REGISTRY.remove(name)


@pytest.fixture(autouse=True)
def functions_of_modules():
    """Registers the functions of the modules for these tests only: others list all functions."""
    for entry in _entries.values():
        FUNCTION_REGISTRY.add(entry)
    yield
    for name, flow in [*WORKFLOW_REGISTRY.items()]:
        if flow.place.startswith("tests.workflows.modules"):
            WORKFLOW_REGISTRY.remove(name)
    for name, entry in [*FUNCTION_REGISTRY.items()]:
        if entry.func.__module__.startswith("tests.workflows.modules"):
            _entries[name] = entry
            FUNCTION_REGISTRY.remove(name)


@pytest.fixture(scope="session")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flows")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("written_flows", None)


@pytest.fixture
def write(_folder, monkeypatch):
    """Writes the bytes of a module, and imports it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def of(content):
        sys.modules.pop("written_flows", None)
        importlib.invalidate_caches()
        (_folder / "written_flows.py").write_bytes(content)
        return importlib.import_module("written_flows")

    return of

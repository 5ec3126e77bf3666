"""Imports point down the list of packages in ARCHITECTURE.md."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.figures import PACKAGE

LAYERS = (
    *(
        "testing",
        "management",
        "admin",
        "api",
        "client",
        "asgi",
        "doctor",
        "wording",
        "worker",
        "service",
    ),
    *(
        "start_service",
        "call_service",
        "engine",
        "webhooks",
        "checks",
        "executors",
        "reads",
        "operations",
    ),
    "workflows",
    *(
        "models",
        "kinds",
        "stubs",
        "functions",
        "converters",
        "policy",
        "sandbox",
        "codec",
        "exceptions",
        "conf",
    ),
)
EXCEPTIONS = {
    # An executor puts the URL of a call into its request, and a registration checks its own.
    ("executors", "webhooks"),
    ("functions", "executors"),
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "durable_monty":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("durable_monty."):
            found.add(node.module.split(".")[1])
    return found & set(LAYERS)


def test_imports_point_downwards():
    upwards = set()
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if layer in LAYERS:
            place = LAYERS.index(layer)
            upwards |= {(layer, to) for to in imports_of(path) if LAYERS.index(to) < place}
    assert upwards == EXCEPTIONS


def test_one_package_imports_monty():
    modules = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if "import pydantic_monty" in (text := path.read_text()) or "from pydantic_monty" in text
    }
    assert modules == {"sandbox"}

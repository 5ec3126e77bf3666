"""The list of the sandbox's modules is that of the sandbox."""

from __future__ import annotations

import sys

from durable_monty.sandbox import MODULES, Checker


def test_list_of_modules_is_that_of_the_sandbox():
    known = {*sys.stdlib_module_names, *MODULES, "collections.abc", "concurrent.futures"}
    asked = {f"import {name}": name for name in known if not name.startswith("_")}
    with Checker() as checker:
        missing = checker.missing([*asked])
    assert {name for statement, name in asked.items() if statement not in missing} == MODULES

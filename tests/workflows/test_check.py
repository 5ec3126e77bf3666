"""`check_closure` finds what fails in the sandbox, at the places of the file."""

from __future__ import annotations

from importlib import import_module

from durable_monty.sandbox import Checker
from durable_monty.workflows.check import check_closure
from durable_monty.workflows.closure import closure_of
from durable_monty.workflows.workflow import Workflow


def flow_of(name):
    return import_module(f"tests.workflows.modules.check.{name}").flow


def test_a_clean_closure_has_no_complaints():
    assert check_closure(closure_of(flow_of("clean"))) == []


def test_all_that_fails_is_said_at_its_place():
    with Checker() as checker:
        complaints = check_closure(closure_of(flow_of("failing")), checker)
    said = [f"{each.rule} {each.line}:{each.column} {each.message}" for each in complaints]
    fails = "This raises an error in the sandbox:"
    types = "Use it in annotations only: types have no effect when it runs."
    assert said == [
        "unknown-import 4:36 The sandbox has no dataclasses.asdict. Write it in another way, or "
        "in a function.",
        f"failing-definition 11:5 {fails} TypeError: 'typing._SpecialForm' object is not "
        f"callable. {types}",
        f"failing-definition 12:8 {fails} TypeError: 'typing._SpecialForm' object is not "
        f"subscriptable. {types}",
        f"failing-definition 15:5 {fails} TypeError: 'float' object cannot be interpreted as an "
        "integer.",
        f"failing-definition 20:9 {fails} RuntimeError: a function cannot be called while the "
        "module is defined; call it in the workflow.",
        f"failing-definition 23:2 {fails} NotImplementedError: dataclass() does not yet support "
        "the slots option. Leave the option out.",
        "unmatched-except 32:12 ConnectionError never matches: the sandbox does not know it. It "
        "arrives as OSError. Write: except OSError as error, and: if error_type(error) == "
        "'ConnectionError'.",
        "unavailable 34:44 open() fails. A workflow has no files. Read or write the file in a "
        "function.",
    ]


def test_a_workflow_checks_itself():
    flow = Workflow(flow_of("clean"), "clean")
    assert flow.check() == []
    (first, *_others) = Workflow(flow_of("failing"), "failing").check()
    assert (first.rule, first.line, first.column) == ("unknown-import", 4, 36)

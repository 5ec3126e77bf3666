"""Workflows in plain Python: the same source, under its real file name."""

import asyncio
import sys
from unittest import mock

import pytest
from asgiref.sync import async_to_sync

from durable_monty.exceptions import WrongWorkflow
from durable_monty.models import WorkerProcess
from tests.app import workflows as app
from tests.support import work
from tests.workflows.conftest import REFUND

STYLES = """
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from durable_monty import workflow
from tests.app.workflows import OutOfStock, add, async_double, fail

if TYPE_CHECKING:
    from decimal import Decimal

SEEN = []


@dataclass
class Line:
    price: Decimal
    count: int = 1


def note(line):
    SEEN.append(line)
    return len(SEEN)


@workflow
async def styles(price: int, order: OutOfStock | None = None):
    count = note(Line(price))
    doubled = await async_double(price)
    try:
        await fail("OutOfStock", "none left")
    except Exception as error:
        return [count, doubled, await add(doubled, 1), str(error), error_type(error)]
"""


def test_runs_the_same_source(load):
    refund = load().refund
    assert asyncio.run(refund(7, reason="late", b=2)) == "24 for late"
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'number'"):
        refund()


@pytest.mark.django_db
def test_gives_what_the_sandbox_gives(load, service):
    styles = load(STYLES).styles
    plain = [asyncio.run(styles(4)) for _ in range(2)]
    execution_id = styles.start(4)
    work()
    assert plain == [service.get_result(execution_id)] * 2
    # Each run has the names of the module to itself.
    assert plain[0] == [1, 8, 9, "none left", "OutOfStock"]


def test_functions_can_be_replaced_in_their_module(load):
    module = load()
    with mock.patch("shop_workflows.add", return_value=5) as add:
        assert asyncio.run(module.refund(7)) == "5 for broken"
    add.assert_called_once_with(10, 14)
    with mock.patch("shop_workflows.twice", mock.AsyncMock(return_value=1)):
        assert asyncio.run(module.refund(7)) == "11 for broken"
    with mock.patch("tests.app.workflows.add", return_value=-1):
        assert asyncio.run(module.refund(7)) == "-1 for broken"
    assert asyncio.run(module.refund(7)) == "24 for broken"


def test_functions_are_replaced_while_it_runs(load, monkeypatch):
    module = load()

    def twice(number):
        monkeypatch.setattr(module, "add", lambda a, b: "replaced")
        return 0

    monkeypatch.setattr(module, "twice", twice)
    assert asyncio.run(module.refund(7)) == "replaced for broken"


@pytest.mark.django_db
def test_sync_functions_are_in_the_transaction_of_the_test(load, register):
    def count():
        return WorkerProcess.objects.count()

    register("count_workers", count)
    WorkerProcess.objects.create(
        host="h", pid=1, version="1", sandbox_version="1", executor="x", functions_json="[]",
        started_at="2026-01-01T00:00Z", heartbeat_at="2026-01-01T00:00Z",
    )  # fmt: skip
    with mock.patch.object(app, "count_workers", count, create=True):
        source = REFUND.replace("double as twice", "count_workers")
        source = source.replace("await twice(number)", "await count_workers()")
        assert async_to_sync(load(source).refund)(7) == "11 for broken"


def test_lines_are_those_of_the_file(load):
    module = load()
    lines, wanted = set(), module.__file__

    def trace(frame, event, _arg):
        if frame.f_code.co_filename != wanted:
            return None
        if event == "line":
            lines.add((frame.f_code.co_name, frame.f_lineno))
        return trace

    kept = sys.gettrace()
    sys.settrace(trace)
    try:
        asyncio.run(module.refund(7))
    finally:
        sys.settrace(kept)
    text = REFUND.split("\n")
    assert {text[line - 1].strip() for name, line in lines if name == "refund"} >= {
        "lines = [Line(number), Line(RATE)]",
        "amount = await add(total(lines), await twice(number))",
        'return f"{amount} for {reason}"',
    }
    assert ("total", 1 + text.index("    return sum(line.price for line in lines)")) in lines


def test_error_has_the_line_of_the_file(load):
    module = load(REFUND.replace("lines = [Line(number)", "lines = [1 / 0, Line(number)"))
    with pytest.raises(ZeroDivisionError) as error:
        asyncio.run(module.refund(7))
    last = error.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (module.__file__, 23)


def test_what_cannot_be_a_workflow(load):
    wrong = load(REFUND.replace("async def refund", "def refund").replace("await ", ""))
    with pytest.raises(WrongWorkflow) as error:
        wrong.refund(7)
    assert str(error.value) == (
        "refund() cannot be a workflow.\nshop_workflows.py:21:1: Write: async def refund(...). "
        "A workflow awaits its calls."
    )


def test_looks_like_its_function(load):
    refund = load().refund
    assert (refund.__name__, refund.__doc__) == ("refund", "Gives the money back.")
    assert repr(refund) == "<workflow 'refund' at shop_workflows.refund>"
    assert (refund.name, refund.place) == ("refund", "shop_workflows.refund")

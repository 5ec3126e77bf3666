"""The package stays as readable as it is: sizes, comments, and one place for one thing."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.house.figures import PACKAGE, measure, percentile, words_of

README = PACKAGE.parent / "README.md"


@pytest.fixture(scope="module")
def figures():
    return measure()


def test_no_module_is_longer_than_300_lines(figures):
    assert {str(name): lines for name, lines in figures.modules.items() if lines > 300} == {}


def test_functions_are_neither_sliced_nor_long(figures):
    lengths = [function.length for function in figures.functions]
    assert 6 <= statistics.median(lengths) <= 10
    assert percentile(lengths, 0.95) <= 30


def test_few_private_functions_are_used_once(figures):
    assert len(figures.used_once()) <= 0.08 * len(figures.functions)


def test_every_function_is_annotated(figures):
    assert [one.name for one in figures.functions if not one.annotated] == []


def test_comments_give_reasons_where_they_are_needed(figures):
    assert 3 <= 100 * figures.comments / figures.lines <= 5


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200
    assert words_of(README) <= 1_600


def modules_with(pattern: str) -> list[str]:
    return sorted(
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "migrations" not in path.parts and re.search(pattern, path.read_text())
    )


def test_one_place_asks_which_database_it_is():
    assert modules_with(r"\.vendor\b") == ["vendors.py"]


def test_calls_are_closed_in_one_module_and_executions_ended_in_one():
    # Calls that have no row yet are written closed; `closed` and `finished` have the columns.
    assert modules_with(r"(?<!def )\bclosed\(") == [
        "operations/call_rows.py",
        "operations/close.py",
        "operations/copies.py",
    ]
    assert modules_with(r"(?<!def )\bfinished\(") == [
        "operations/finish.py",
        "operations/transitions.py",
    ]

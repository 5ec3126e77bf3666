"""Which code means the same under one key."""

import pytest

from durable_monty.models import Execution, Program
from durable_monty.operations.keys import differing_program
from durable_monty.operations.sources import Code

PAY = """
\'\'\'Pays.\'\'\'
total = 0  # euros
for price in prices:
    total += price
text = f"{total}#1"
await add(total, '# 1')
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PAY, PAY.replace("'# 1'", "'# 2'")),
        (PAY, PAY.replace("#1", "#2")),
        (PAY, PAY.replace("Pays.", "Pays")),
        (PAY, PAY.replace("    total += price", "    total += price\n    1")),
        ("if a:\n  b\n  c", "if a:\n  b\nc"),
        # What this Python cannot read is compared as it is.
        ("a = (", "a = (  # b"),
        ("a = 'b", "a = 'b # c"),
        ("if a:\n    b\n  c # d", "if a:\n    b\n  c"),
        # A # in the quotes of an f-string is no comment, also for Python 3.11.
        ('f"{a["b#c"]}"', 'f"{a["b#d"]}"'),
        ('rf"{a["b#c"]}"', 'rf"{a["b#d"]}"'),
    ],
)
def test_code_that_means_something_else(before, after):
    known = Execution(program=Program(source=before, functions_json="{}"))
    assert differing_program(known, Code(after, {})) == ["code"]
    assert differing_program(known, Code(before, {})) == []
    assert differing_program(known, Code(before, {"add": "add"})) == ["functions"]

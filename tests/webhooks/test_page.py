"""The page about webhooks says what the code does."""

import re
from pathlib import Path

import durable_monty
from durable_monty.exceptions import CallSettled
from durable_monty.webhooks.refusals import STATUS, code_of
from tests.documents import tables

PAGE = Path(durable_monty.__file__).parent / "docs" / "how-to" / "webhooks.md"
# Those that are no exception of ours, or depend on more than its class.
OTHERS = {
    ("405", "method_not_allowed"),
    ("503", "database_unavailable"),
    ("410", "call_withdrawn"),
}
# One that has no token and no secret behind it.
UNSEEN = {("404", "execution_not_found")}


def test_table_of_responses():
    documented = {
        (row[0], code)
        for row in tables(PAGE)["The response"]
        for code in re.findall(r"`([^`]+)`", row[1])
    }
    raised = {(str(status), code_of(kind)) for kind, status in STATUS.items()}
    assert documented == (raised | OTHERS) - UNSEEN
    assert STATUS[CallSettled] == 409

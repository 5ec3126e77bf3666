from typing import NamedTuple

import pytest

from durable_monty.sandbox import Checker
from durable_monty.stubs import stubs_of


class Loaded(NamedTuple):
    """Is imported by `declared` for type checkers only."""

    number: int


@pytest.fixture(scope="session")
def checker():
    with Checker() as opened:
        yield opened


def declarations(functions, inputs=()):
    """The stubs without their imports and what they always end with."""
    lines = stubs_of(functions, inputs).splitlines()
    while lines[0].startswith("from "):
        del lines[0]
    assert lines[0] == f"__all__ = {[*inputs, *functions, 'error_type']}"
    assert lines[-1] == "def error_type(error: BaseException, /) -> str: ..."
    return "\n".join(lines[1:-1])

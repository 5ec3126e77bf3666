"""The digest stays where a run stays the same, and differs where it may differ."""

from __future__ import annotations

import pytest

from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.workflows.closure import closure_of
from durable_monty.workflows.digest import digest_of

SOURCE = '''\
from asyncio import gather, sleep
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge

LIMIT = 3  # at most
TEXT = f"""a

b {LIMIT}"""


def helper(x):
    """Helps."""
    return x + 1  # one more


@workflow
async def flow(number: int):
    await gather(charge(number, helper(LIMIT)))
    return TEXT
'''
# The same on every Python and every machine: executions of one version may run on any.
DIGEST = "5241f73ea91a59dec56591599ef858afff05bb8ad4972cf61a17fe5aab577d62"


def changed(old, new):
    assert old in SOURCE
    return SOURCE.replace(old, new)


def test_digest_is_the_same_everywhere(write):
    assert closure_of(write(SOURCE.encode()).flow).digest == DIGEST


@pytest.mark.parametrize(
    "source",
    [
        '"""A text."""\n\n\nimport uuid\n' + SOURCE,
        changed("\n\n\n@workflow", "\n\n\n\n\ndef unused():\n    pass\n\n\n@workflow"),
        changed("# at most", "# at least"),
        changed("  # at most", ""),
        changed("    return TEXT", "    # the text\n\n    return TEXT   "),
        changed("gather, sleep", "gather, sleep, wait"),
        changed("import gather, sleep", "import create_task, gather"),
        changed("@workflow", '@workflow(name="other")'),
        changed("await gather(charge(", "await gather( charge("),
        changed("await gather(charge(", "await gather(\n        charge("),
        changed("def helper", "import uuid; uuid.uuid4()\ndef helper"),
    ],
)
def test_same_digest(write, source):
    assert closure_of(write(source.encode()).flow).digest == DIGEST


@pytest.mark.parametrize(
    "source",
    [
        changed("LIMIT = 3", "LIMIT = 4"),
        changed("Helps.", "Helps you."),
        changed("a\n\nb", "a\nb"),
        changed("a\n\nb", "a \n\nb"),
        changed("a\n\nb", "a\n# no comment\nb"),
        changed("x + 1", "x - 1"),
        changed("number: int", "number: float"),
        changed("    return TEXT", "    if 1:\n        return TEXT"),
        changed("    return TEXT", "return_ = 3\n    return TEXT").replace("return_", "    y"),
        changed("import charge", "import notify as charge"),
        changed("import gather, sleep", "import sleep as gather"),
    ],
)
def test_other_digest(write, source):
    assert closure_of(write(source.encode()).flow).digest != DIGEST


def test_digest_knows_the_functions(write):
    entry = FUNCTION_REGISTRY["shop_charge"]
    assert closure_of(write(SOURCE.encode()).flow).functions == {"charge": "shop_charge"}
    FUNCTION_REGISTRY.remove("shop_charge")
    try:
        FUNCTION_REGISTRY["other_name"] = entry.func
        assert closure_of(write(SOURCE.encode()).flow).digest != DIGEST
    finally:
        FUNCTION_REGISTRY.remove("other_name")


def test_structure_is_part_of_the_digest():
    sources = [
        "if a:\n    b\n    c\n",
        "if a:\n    b\nc\n",
        "if a: b; c\n",
        "if a:\n    b + c\n",
        "",
    ]
    assert len({digest_of(source, {}) for source in sources}) == len(sources)
    assert digest_of("a", {"b": "c"}) != digest_of("a", {"c": "b"})
    nested = "f\"{f'{a}'} {b:>{c}} {{\" + f'' 'x'"
    assert digest_of(nested, {}) != digest_of(nested.replace("{b", "{ b"), {})
    assert digest_of(nested, {}) == digest_of(nested.replace(" + ", "  +  "), {})

"""Generated modules do the same in plain Python and in the sandbox, line for line."""

from __future__ import annotations

import re
import sys
import traceback

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from durable_monty import codec
from durable_monty.sandbox import Completed
from durable_monty.workflows.closure import closure_of
from tests.workflows.support import run_closure, run_plain

HEAD = """\
import logging
from asyncio import gather, sleep, wait_for
from dataclasses import dataclass
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge, load_order as load, fail
TEXT = "é🙂"
"""
# What stands between definitions, and does not come along.
NOISE = (
    "",
    "# a comment: def h0(): pass",
    "class Broken{n}(Exception):\n    @property\n    def x(self): yield 1",
    "logger{n} = logging.getLogger('x')",
    '"""\ndef h0():\n    C0 = 1\n"""',
    "def unused{n}(a=logging):\n    del a\n    return C0, h0",
    "if logging:\n    unused_name{n} = 1",
    "N{n} = '''\n\n''' ; M{n} = (\n  1,\n)",
)
_FRAME = re.compile(r'^  File "workflow", line (\d+), in (.+)$', re.MULTILINE)


@st.composite
def expressions(draw, names, helpers, depth=2):
    """An expression of whole numbers; `helpers` are functions of one number."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([*names, "1", "2", "0", "len(TEXT)"]))

    def inner():
        return draw(expressions(names, helpers, depth - 1))

    forms = [
        lambda: f"({inner()} + {inner()})",
        lambda: f"({inner()} - {inner()} * 2)",
        lambda: f"sum([v + {inner()} for v in range(3) if v != {inner()}])",
        lambda: "len(f'{NAME}é{1:>{2}}')".replace("NAME", draw(st.sampled_from(names))),
        lambda: f"(lambda v, w={inner()}: v + w)({inner()})",
        lambda: f"[10, 20, 30][{inner()}]",
        lambda: f"{{0: {inner()}, 1: 5}}[{inner()}]",
        lambda: f"max({inner()}, {inner()})",
        lambda: f"({inner()} if {inner()} > 1 else {inner()})",
        lambda: f"Pair({inner()}, {inner()}).total()",
        lambda: f"sum({{k: {inner()} for k in (1, 2)}}.values())",
    ]
    if helpers:
        forms.append(lambda: f"{draw(st.sampled_from(helpers))}({inner()})")
    return draw(st.sampled_from(forms))()


@st.composite
def bodies(draw, names, helpers, coroutines=None):
    """The lines of a function; with `coroutines` it may await."""

    def value():
        return draw(expressions([*names, "x"], helpers))

    forms = [
        lambda: [f"y = {value()}", f"return y + {value()}"],
        lambda: ["try:", f"    y = {value()}", "except Exception as error:",
                 "    y = isinstance(error, KeyError) + 3", "finally:", "    x += 1",
                 "return y + x"],
        lambda: ["def inner(z=x):", "    nonlocal x", f"    x = z + {value()}", "    return x",
                 f"return inner() + inner({value()}) + x"],
        lambda: [f"if (y := {value()}) > 2:", f"    raise ValueError('é' + str({value()}))",
                 "return y"],
        lambda: [f"match [x, {value()}]:", "    case [0, y] | [1, y]:", "        return y",
                 "    case [_, *rest]:", "        return sum(rest)"],
        lambda: ["y = 0", "for x, y in enumerate([x, 1]):", f"    y += {value()}", "return x + y"],
    ]  # fmt: skip
    if coroutines is not None:
        calls = ["charge_one", "load_one", *coroutines]

        def call():
            return f"{draw(st.sampled_from(calls))}({value()})"

        forms += [
            lambda: [f"y = await {call()}", f"return y + await {call()}"],
            lambda: [f"return sum(await gather({call()}, {call()}, {call()}))"],
            lambda: ["try:", f"    await fail(str({value()}))", "except Exception as error:",
                     "    return isinstance(error, ValueError) + 1"],
            lambda: [f"await gather(sleep({value()} * 0), {call()})", f"return {value()}"],
        ]  # fmt: skip
    return ["    " + line for line in draw(st.sampled_from(forms))()]


@st.composite
def modules(draw):
    parts, names, helpers, coroutines = [], [], [], []
    for number in range(draw(st.integers(1, 3))):
        value = draw(expressions(["3", *names], []))
        parts.append([f"C{number} = {value}"])
        names.append(f"C{number}")
    functions = [
        ["async def charge_one(x):", "    return len(await charge(x, 1))"],
        ["async def load_one(x):", "    order = await load(x)", "    return order['total']"],
    ]
    for number in range(draw(st.integers(0, 3))):
        functions.append([f"def h{number}(x):", *draw(bodies(names, helpers))])
        helpers.append(f"h{number}")
    for number in range(draw(st.integers(0, 2))):
        body = draw(bodies(names, helpers, coroutines))
        functions.append([f"async def a{number}(x):", *body])
        coroutines.append(f"a{number}")
    body = draw(bodies(names, helpers, coroutines))
    functions.append(["@workflow", "async def flow(x):", *body])
    pair = ["@dataclass", "class Pair:", "    a: 'Missing'", "    b: int = 2", "",
            "    def total(self):", "        return self.a + self.b"]  # fmt: skip
    parts = [pair, *parts, *draw(st.permutations(functions))]
    lines = [HEAD]
    for number, part in enumerate(parts):
        noise = draw(st.lists(st.sampled_from(NOISE), max_size=2))
        lines += [each.replace("{n}", f"{number}_{index}") for index, each in enumerate(noise)]
        lines += part
    return "\n".join(lines) + "\n"


# What the sandbox does in another way is left out: the text of a KeyError; the line of an error
# that passes a `try` without being caught, for which it gives the last line of the `try`; and, for
# an error that comes out of a gather, the frame that awaits the gather: the innermost one counts.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck], derandomize=True)
@given(source=modules(), number=st.integers(-1, 3))
def test_plain_python_and_the_sandbox_agree(write, source, number):
    try:
        closure = closure_of(write(source.encode()).flow)
    except (IndexError, KeyError):
        return  # a constant of the module raises
    expected = plain(closure, number)
    outcome = run_closure(closure, {"x": number})
    if isinstance(outcome, Completed):
        assert ("value", codec.decode(outcome.output)) == expected, closure.source
    else:
        frames = _FRAME.findall(outcome.traceback)
        lines = [(int(line), name) for line, name in frames if name.isidentifier()]
        # The sandbox makes a text of the key of a KeyError.
        message = outcome.message
        message = message.strip("'") if outcome.error_type == "KeyError" else message
        found = (outcome.error_type, message, lines[-1:])
        assert found == expected, closure.source


def plain(closure, number):
    """What plain Python gives: the value, or the error and its innermost frame in the file."""
    try:
        return "value", run_plain(closure, {"x": number})
    except Exception as error:
        frames = [
            (frame.lineno, frame.name)
            for frame in traceback.extract_tb(sys.exc_info()[2])
            if frame.filename == closure.path and frame.name.isidentifier()
        ]
        kind = next(each for each in type(error).__mro__ if each.__module__ == "builtins")
        return kind.__name__, str(error), frames[-1:]

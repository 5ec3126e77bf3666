"""A call whose `await` is missing: found in the source, or when the workflow has completed."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from durable_monty import codec
from durable_monty.sandbox import (
    Completed,
    Failed,
    RecordedTurn,
    Settled,
    Suspended,
    Workflow,
    mistake_in,
    retrace,
    unawaited,
)
from tests.sandbox.test_interpreter import LIMITS, NOON, answer, interpreter, outcome


def lost(name, line):
    return f"{name}(...), called on line {line}, was never awaited. Write: await {name}(...)"


NEVER_AWAITED = {
    "statement": ("await g(0)\nf(1)\nawait g(2)", lost("f", 2)),
    "last line": ("await g(0)\nf(1)", lost("f", 2)),
    "kept": ("t = f(1)\nawait g(2)", lost("f", 1)),
    "kept twice": ("t = u = f(1)\nv = u\nawait g(2)", lost("f", 1)),
    "annotated": ("t: bool = f(1)\nawait g(2)", lost("f", 1)),
    "walrus": ("if (t := f(1)):\n    await g(2)", lost("f", 1)),
    "tested": ("t = f(1)\nif t:\n    await g(2)", lost("f", 1)),
    "tested at once": ("if not f(1) and 2 > 1:\n    await g(2)", lost("f", 1)),
    "chosen": ("t = 1 if f(1) else 2\nawait g(t)", lost("f", 1)),
    "compared": ("t = f(1)\nawait g(t == 3)", lost("f", 1)),
    "in a text": ("name = f(1)\nawait g(f'Dear {name}')", lost("f", 1)),
    "in a text at once": ("await g(f'Dear {f(1)!r:>9}')", lost("f", 1)),
    "as a text": ("name = f(1)\nawait g('Dear ' + str(name))", lost("f", 1)),
    "printed": ("print(f(1))\nawait g(2)", lost("f", 1)),
    "output": ("t = f(1)\nawait g(2)\n{'t': [t]}", lost("f", 1)),
    "returned at the top": ("t = f(1)\nreturn t", lost("f", 1)),
    "in a loop": ("for i in [1, 2]:\n    f(i)\nawait g(2)", lost("f", 2)),
    "comprehension": ("[f(i) for i in range(3)]\nawait g(2)", lost("f", 1)),
    "list": ("ts = [f(1), f(2)]\nfor t in ts: pass", lost("f", 1)),
    "conditional": ("t = f(1) if x else None\nawait g(x)", lost("f", 1)),
    "branch": ("if await g(1): f(2)\nelse: await f(3)", lost("f", 1)),
    "other name": ("t = f(1)\nu = g(2)\nawait u", lost("f", 1)),
    "own function": ("async def main():\n    await f(1)\nmain()", lost("main", 3)),
    "own function, in one": (
        "async def step():\n    await f(1)\nasync def main():\n    step()\n    return 1\n"
        "await main()",
        lost("step", 4),
    ),
    "result of an own function": (
        "async def main():\n    ok = f(1)\n    if ok: await g(2)\n    return {'ok': ok}\n"
        "await main()",
        lost("f", 2),
    ),
    "result of asyncio.run": (
        "import asyncio\nasync def main():\n    return f(1)\nasyncio.run(main())",
        lost("f", 3),
    ),
    "method": (
        "class A:\n    async def go(self): await f(1)\n    async def all(self):\n"
        "        self.go()\nawait A().all()",
        lost("self.go", 4),
    ),
    "method of a variable": (
        "class A:\n    async def go(self): await f(1)\na = A()\na.go()\nawait g(1)",
        lost("a.go", 4),
    ),
    "method of an instance": (
        "class A:\n    async def go(self): await f(1)\nA().go()\nawait g(1)",
        lost("A().go", 3),
    ),
    "in a function": ("def h(x):\n    f(x)\nh(1)\nawait g(2)", lost("f", 2)),
    "result of a function": ("def h(x):\n    return f(x)\nh(1)\nawait g(2)", lost("f", 2)),
    "gather": ("from asyncio import gather\ngather(f(1), f(2))\nawait g(2)", lost("gather", 2)),
    "gather of a module": (
        "import asyncio as a\nt = a.gather(f(1))\nawait g(2)",
        lost("a.gather", 2),
    ),
    "sleep": ("import asyncio\nasyncio.sleep(60)\nawait g(2)", lost("asyncio.sleep", 2)),
    "sleep, imported": ("from asyncio import sleep as wait\nwait(9)\nawait g(2)", lost("wait", 2)),
    "é": ("é = 'é'; t = f(1)\nawait g(2)", lost("f", 1)),
}


@pytest.mark.parametrize("mistake", NEVER_AWAITED)
def test_call_that_nothing_awaits_fails_before_anything_is_run(mistake):
    source, message = NEVER_AWAITED[mistake]
    with interpreter(source, {"x": True}) as run:
        turn = run.start()
    line = int(message.split("line ")[1].split(",")[0])
    assert turn == ((), "", Failed("RuntimeError", message, f'  File "workflow", line {line}'))


USED = "f(...), called on line 1, is used on line {} before it is awaited. Write: await f(...)"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("t = f(1)\nif t:\n    await t", 2),
        ("t = f(1)\n\nx = 1 if t else 2\nawait t", 3),
        ("t = f(1)\nwhile not t: pass\nawait t", 2),
        ("t = f(1)\nawait g(t and 1)\nawait t", 2),
        ("t = f(1)\nawait g(f'{t}')\nawait t", 2),
        ("t = f(1)\nawait g(str(t))\nawait t", 2),
        ("t = f(1)\nawait g(t == 1)\nawait t", 2),
        ("t = f(1)\nawait g(1 < t)\nt = f(2)\nawait t", 2),
    ],
)
def test_coroutine_that_is_used_as_a_value_fails_before_anything_is_run(source, line):
    with interpreter(source) as run:
        turn = run.start()
    message = USED.format(line)
    assert turn == ((), "", Failed("RuntimeError", message, f'  File "workflow", line {line}'))


AWAITED = {
    "at once": "await f(1)",
    "later": "t = f(1)\nu = t\nawait u",
    "in the last line": "t = f(1)\n[await t]",
    "conditional": "await (f(1) if True else g(2))",
    "either": "await (None or f(1))",
    "by another name": "t = f(1)\nt = [t, 3]\nawait t[0]",
    "unpacked": "(a, *b), c = [f(1), f(2)], f(3)\nawait a\nawait b[0]\nawait c",
    "walrus": "await (t := f(1))",
    "list": "ts = [f(1), f(2)]\nfor t in ts: await t",
    "list that grows": "ts = []\nts.append(f(1))\nts += [f(2)]\nfor t in ts: await t",
    "list method": "ts = [f(1)]\nt = ts.pop()\nawait t",
    "dict": "ts = {'a': f(1)}\nfor name, t in ts.items(): await t",
    "dict item": "ts = {}\nts['a'] = f(1)\nawait ts['a']",
    "attribute": "class A: pass\na = A()\na.t = f(1)\nawait a.t",
    "attribute of a class": "class A:\n    t = f(1)\nawait A.t",
    "comprehension": "[await t for t in [f(i) for i in range(2)]]",
    "dict comprehension": "ts = {i: f(i) for i in range(2)}\nawait ts[0]\nawait ts[1]",
    "gather": "from asyncio import gather\nawait gather(f(1), g(2))",
    "gather of a list": "import asyncio\nts = [f(i) for i in range(2)]\nawait asyncio.gather(*ts)",
    "gather of a generator": "from asyncio import gather\nawait gather(*(f(i) for i in [1, 2]))",
    "gather kept": "from asyncio import gather\nboth = gather(f(1), f(2))\nawait both",
    "gather of a gather": "from asyncio import gather\nawait gather(gather(f(1)), f(2))",
    "helper": "async def both(a, b): return [await a, await b]\nawait both(f(1), b=f(2))",
    "helper that keeps": "kept = []\ndef keep(t): kept.append(t)\nkeep(f(1))\nawait kept[0]",
    "returned": "def ask(): return f(1)\nawait ask()",
    "returned by an own coroutine": "async def ask(): return f(1)\nawait (await ask())",
    "lambda": "ask = lambda x: f(x)\nawait ask(1)",
    "closure": "def make():\n    t = f(1)\n    async def wait(): return await t\n    return wait\n"
    "await make()()",
    "nonlocal": "t = None\ndef begin():\n    global t\n    t = f(1)\nbegin()\nawait t",
    "default": "async def wait(t=f(1)): return await t\nawait wait()",
    "star": "async def wait(*ts, **named): return [await ts[0], await named['t']]\n"
    "await wait(*[f(1)], **{'t': f(2)})",
    "own main": "async def main(): return await f(1)\nawait main()",
    "own main, run": "import asyncio\nasync def main(): return await f(1)\nasyncio.run(main())",
    "own main, kept": "async def main(): return await f(1)\nm = main()\nawait m",
    "method": "class A:\n    async def go(self): return await f(1)\nawait A().go()",
    "method of two classes": "class A:\n    async def go(self): pass\n"
    "class B:\n    def go(self): pass\nB().go()\nawait f(1)",
    "method that a value has too": "class A:\n    async def append(self, x): pass\n"
    "x = []\nx.append(1)\nawait f(1)",
    "attribute of that name": "class A:\n    async def go(self): pass\n"
    "class B: pass\nb = B()\nb.go = print\nb.go(1)\nawait f(1)",
    "member of a module": "import json\nclass A:\n    async def dumps(self): pass\n"
    "json.dumps(1)\nawait f(1)",
    "match": "match f(1):\n    case t: await t",
    "try": "t = f(1)\ntry:\n    await g(2)\nfinally:\n    await t",
    "set before": "t = None\nif True: t = f(1)\nif t: await t",
    "is None": "t = f(1)\nif t is not None: await t",
    "as a value": "steps = [f, g]\nfor step in steps: await step(1)",
    "in eval": "t = f(1)\nawait eval('t')",
    "shadowed": "def f(x): return x\nf(1)\nawait g(2)",
    "parameter": "def call(f):\n    f(1)\ncall(print)\nawait g(1)",
    "loop variable": "for f in [print]:\n    f(1)\nawait g(1)",
    "class of that name": "class gather:\n    def __init__(self, x): pass\ngather(1)\nawait g(1)",
}


@pytest.mark.parametrize("awaited", AWAITED)
def test_call_that_may_be_awaited_is_no_mistake(awaited):
    with interpreter(AWAITED[awaited]) as run:
        turn = run.start()
        for _ in range(4):
            if isinstance(turn.outcome, Suspended):
                turn = run.resume({call_id: answer(call_id) for call_id in run.pending})
    assert isinstance(turn.outcome, Completed)


def test_variable_that_an_input_sets_may_hold_a_value():
    source = "if early:\n    await g(early)\nearly = f(1)\nawait early"
    assert isinstance(outcome(source, {"early": 3}), Suspended)
    assert USED.replace("line 1", "line 3").format(1) in outcome(source).message


LEFT = {
    "not reached": "t = f(1)\nif await g(0): await t\n'done'",
    "not reached in a function": (
        "async def main():\n    t = f(1)\n    if await g(0): await t\n    return 'done'\n"
        "await main()"
    ),
    "skipped by an error": "t = f(1)\ntry:\n    await g(0)\n    1 / 0\n    await t\n"
    "except ZeroDivisionError: pass\n'done'",
    "collected": "ts = []\nts.append(f(1))\nif await g(0): await ts[0]\n'done'",
    "beside a gather": "from asyncio import gather\nt = f(1)\nawait gather(g(0))\n"
    "if False: await t\n'done'",
    "beside a gather that raises": "from asyncio import gather\nt = f(1)\ntry:\n"
    "    await gather(g(0))\n    1 / 0\nexcept ZeroDivisionError: pass\nif False: await t\n'done'",
    "for a gather": "from asyncio import gather\nts = [f(1)]\nif await g(0): await gather(*ts)\n"
    "'done'",
}


@pytest.mark.parametrize("left", LEFT)
def test_call_of_an_earlier_turn_that_nobody_awaited_fails_at_the_end(left):
    source = LEFT[left]
    line = source[: source.index("f(1)")].count("\n") + 1
    with interpreter(source) as run:
        run.start()
        failed = run.resume({1: answer(0)}).outcome
    assert failed == Failed("RuntimeError", lost("f", line), f'  File "workflow", line {line}')


GIVEN_UP = (
    "from asyncio import gather\nt = f(1)\ntry:\n    await gather(g(0), t)\n"
    "except ValueError: pass\n'done'"
)


def test_calls_that_a_gather_gave_up_are_not_forgotten():
    error = Settled(error_type="ValueError", error_message="no")
    with interpreter(GIVEN_UP) as run:
        run.start()
        assert run.resume({1: error}).outcome == Completed('"done"')


@pytest.mark.parametrize(
    ("source", "answers", "left"),
    [
        (LEFT["not reached"], {1: answer(0)}, (0,)),
        (LEFT["not reached"], {0: answer(0), 1: answer(0)}, ()),
        (LEFT["beside a gather that raises"], {1: answer(0)}, (0,)),
        # Its source tells enough: there is no call in it that may have been forgotten.
        (GIVEN_UP, {1: Settled(error_type="ValueError", error_message="no")}, ()),
    ],
)
def test_loaded_interpreter_says_which_calls_the_journal_must_tell_of(source, answers, left):
    with interpreter(source) as run:
        run.start()
        dump = run.dump()
    with interpreter(source) as other:
        other.load(dump)
        assert other.resume(answers).outcome.left == left


def test_journal_that_was_written_before_is_replayed_as_it_is():
    """What is refused today may have run before."""
    source = "print('é')\nt = f(1)\nawait g(2)\nprint('end')"
    workflow = Workflow(source, {"f": "f", "g": "shop.tasks.g"}, "{}", "seed")
    with interpreter(source) as run:
        first = run.begin()
        journal = [
            RecordedTurn(1, {}, {call.call_id: call for call in first.calls}),
            RecordedTurn(2, {1: answer(0)}, {}),
        ]
    turns = list(retrace(workflow, journal, LIMITS, lambda: NOON, may_end=True))
    assert [turn.log for turn in turns] == ["é\n", "end\n"]


def test_journal_of_a_workflow_that_was_refused_is_replayed_as_it_is():
    workflow = Workflow("await f(1)\nf(2)", {"f": "f"}, "{}", "seed")
    (turn,) = retrace(workflow, [RecordedTurn(1)], LIMITS, lambda: NOON, may_end=True)
    assert (turn.calls, turn.outcome.message) == ((), lost("f", 2))


def test_source_that_this_python_does_not_parse(monkeypatch):
    def refuse(tree, functions):
        raise SyntaxError

    monkeypatch.setattr(unawaited, "Flow", refuse)
    with interpreter("f(1)\nawait g(2)  # not parsed") as run:
        run.start()
        assert run.resume({1: answer(0)}).outcome.message == lost("f", 1)
    source = "try: pass\nfinally: 'gather'\nf(1)\nawait g(2)  # not parsed"
    with interpreter(source) as run:
        run.start()
        assert run.resume({1: answer(0)}).outcome == Completed("0")


# What the sandbox gives for its own objects

LIKE_OBJECTS = [
    "<gather(1)>",
    "<coroutine object x>",
    "<coroutine object main>",
    "<coroutine object é>",
    "<function 'x' at 0x1>",
    "<function '<lambda>' at 0xc>",
    "<coroutine external_future(7)>",
    "<coroutine external_future(00)>",
    "<coroutine external_future(-1)>",
    f"<coroutine external_future({'1' * 4301})>",
    "<coroutine external_future(0)> ",
    "Dear <coroutine external_future(0)>",
    '"<coroutine external_future(0)>',
    '\\"<coroutine external_future(0)>"',
    '"<gather(1)>"',
]
texts = st.one_of(st.sampled_from(LIKE_OBJECTS), st.text(max_size=5))
values = st.recursive(
    texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
ECHO = """
import asyncio
async def main():
    t = f(value)
    both = asyncio.gather(f(key=value), g(value))
    return [await t, await both, value, [str(each) for each in [value]][0] == str(value)]
asyncio.run(main())
"""


@settings(max_examples=60, deadline=None)
@given(values)
def test_texts_that_look_like_objects_go_through_unharmed(value):
    limits = replace(LIMITS, value_bytes=1_000_000)
    with interpreter(ECHO, {"value": value}, limits=limits) as run:
        turn = run.start()
        assert codec.decode(turn.calls[0].args) == [value]
        assert codec.decode(turn.calls[1].kwargs) == {"key": value}
        turn = run.resume({call_id: answer(value) for call_id in (0, 1, 2)})
        assert codec.decode(turn.outcome.output) == [value, [value, value], value, True]


def test_text_of_a_call_that_has_its_answer_is_a_text():
    source = "t = f(1)\nawait t\nawait g('<coroutine external_future(0)>')"
    with interpreter(source) as run:
        run.start()
        (call,) = run.resume({0: answer(1)}).calls
    assert call.args == '["<coroutine external_future(0)>"]'


PASS = "def same(x): return x\n"


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        (
            PASS + "t = same(f(1))\nawait g(t)\nawait t",
            "TypeError",
            "g() was given a coroutine: await f(...) first",
        ),
        (PASS + "t = [same(f(1))]\nt", "RuntimeError", lost("f", 2)),
        (
            PASS + "from asyncio import gather\nt = same(gather(f(1)))\nawait g([t])\nawait t",
            "TypeError",
            "g() was given a coroutine: await gather(...) first",
        ),
        (
            PASS + "async def h(): pass\nt = same(h())\nawait g({'t': t})\nawait t",
            "TypeError",
            "g() was given a coroutine: await h(...) first",
        ),
        (
            PASS + "async def h(): pass\nsame(h())",
            "RuntimeError",
            "h(...) was never awaited. Write: await h(...)",
        ),
        (
            PASS + "async def h(): pass\nstep = h\nstep()",
            "RuntimeError",
            "h(...) was never awaited. Write: await h(...)",
        ),
        (
            "class A:\n    async def go(self): pass\nawait g(A().go())",
            "TypeError",
            "g() was given a coroutine: await go(...) first",
        ),
        (
            PASS + "await g(same)",
            "TypeError",
            "g(): args: the function same cannot leave the workflow",
        ),
        (
            "await g(lambda: 1)",
            "TypeError",
            "g(): args: the function <lambda> cannot leave the workflow",
        ),
        (
            "class A:\n    def go(self): pass\nA.go",
            "TypeError",
            "The output cannot be stored: output: the function go cannot leave the workflow",
        ),
        (
            "await g(eval('lambda: 1'))",
            "TypeError",
            "g(): args: the function <lambda> cannot leave the workflow",
        ),
    ],
)
def test_object_that_leaves_the_sandbox_is_an_error(source, error_type, message):
    failed = outcome(source)
    assert (failed.error_type, failed.message) == (error_type, message)


def test_loaded_call_that_leaves_the_sandbox_is_an_error():
    source = PASS + "t = same(f(1))\nawait f(2)\nawait g(t)\nawait t"
    with interpreter(source) as run:
        run.start()
        dump = run.dump()
    with interpreter(source) as other:
        other.load(dump)
        failed = other.resume({1: answer(1)}).outcome
    assert failed.message == "g() was given a coroutine: await it(...) first"


# Linear

SHAPES = {
    "forgotten": lambda n: "v = add()\n" * n + "1\n" * n,
    "awaited": lambda n: "v = add()\n" * n + "await v\n" * n,
    "names": lambda n: "\n".join(f"a{i} = a{i + 1}" for i in range(n)),
    "chain": lambda n: "a0 = add()\n" + "\n".join(f"a{i + 1} = a{i}" for i in range(n)),
    "list": lambda n: f"[{'add(),' * n}]",
    "texts": lambda n: "f'{add()}'\n" * n,
    "comparison": lambda n: "a" + " < a" * n,
    "targets": lambda n: "a = " * n + "add()",
    "tuples": lambda n: f"({'a,' * n}) = add()\n",
    "imports": lambda n: "import asyncio\n" * n + "asyncio.gather\n" * n,
    "functions": lambda n: "\n".join(f"async def d{i}(): return d{i + 1}()" for i in range(n)),
    "methods": lambda n: "class A:\n" + "  async def d(self): self.d()\n" * n + "A().d()\n" * n,
    "one function": lambda n: "async def d(): pass\n" * n + "d()\n" * n,
    "uses": lambda n: "".join(f"a{i} = add()\nif a{i}: await a{i}\n" for i in range(n)),
}


def work_of(source):
    """How many functions are called, in C or Python, for all that is asked of a source."""
    counted = 0

    def count(frame, event, arg):
        nonlocal counted
        counted += event in ("call", "c_call")

    workflow = Workflow(source, {"add": "add"}, "{}", "")
    places = [unawaited.Position(at, at + 5) for at in range(len(source))]
    sys.setprofile(count)
    try:
        mistake_in(workflow)
        unawaited.leaving(source, frozenset({"add"}))
        unawaited.not_given_up(source + "\ntry: pass\nfinally: gather", ["add"], places)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_source_and_no_faster(shape):
    few, many = (work_of(SHAPES[shape](n)) for n in (150, 600))
    assert few < many < 4.4 * few


@pytest.mark.parametrize(
    "source",
    [
        "[" * 100_000,
        "+".join(["f()"] * 60_000),
        "f()" + ".a" * 120_000,
        "f" + "()" * 120_000,
        "not " * 60_000 + "f()",
        "if f():\n pass\n" + "elif f():\n pass\n" * 12_000,
        "lambda:" * 30_000 + "1",
        "a if f() else " * 20_000 + "1",
    ],
    ids=lambda source: source[:8],
)
def test_source_that_is_nested_too_deep_is_left_to_the_sandbox(source):
    assert mistake_in(Workflow(source, {"f": "f"}, "{}", "")) is None

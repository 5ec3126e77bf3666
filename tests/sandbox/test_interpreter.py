"""The sandbox room alone: no database, no settings."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from durable_monty import codec
from durable_monty.exceptions import HostFault, SnapshotUnusable
from durable_monty.sandbox import (
    RAISABLE,
    Completed,
    Failed,
    Interpreter,
    Limits,
    Settled,
    Suspended,
    Workflow,
    remedies,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FUNCTIONS = {"f": "f", "g": "shop.tasks.g"}
LIMITS = Limits(
    memory=32 * 1024 * 1024,
    turn_seconds=1.0,
    calls=50,
    log_bytes=20_000,
    value_bytes=10_000,
    # The pool is the process's: other tests may have left interpreters open in it.
    processes=128,
)


def interpreter(source, inputs=None, limits=LIMITS, seed="seed", clock=lambda: NOON):
    workflow = Workflow(source, FUNCTIONS, codec.encode(inputs or {}), seed)
    return Interpreter(workflow, limits, clock)


def outcome(source, inputs=None, **options):
    with interpreter(source, inputs, **options) as run:
        return run.start().outcome


def answer(value):
    return Settled(result=codec.encode(value))


def test_turn_asks_for_calls_and_suspends_at_the_main_await():
    source = "from asyncio import gather\nprint('hé')\nx = await gather(f(1), g('b', k=[2]))\nx"
    with interpreter(source) as run:
        turn = run.start()
        assert turn.log == "hé\n"
        assert [(call.call_id, call.kind, call.function) for call in turn.calls] == [
            (0, "function", "f"),
            (1, "function", "shop.tasks.g"),
        ]
        assert (turn.calls[1].args, turn.calls[1].kwargs) == ('["b"]', '{"k":[2]}')
        assert isinstance(turn.outcome, Suspended)
        position = turn.outcome.position
        assert (
            source.encode()[position.start : position.end] == b"await gather(f(1), g('b', k=[2]))"
        )
        start, end = turn.calls[0].position.start, turn.calls[0].position.end
        assert source.encode()[start:end] == b"f(1)"

        turn = run.resume({1: answer("second")})
        assert (turn.calls, turn.log) == ((), "")
        assert isinstance(turn.outcome, Suspended)
        assert run.resume({0: answer("first")}).outcome == Completed('["first","second"]')


def test_dump_goes_on_in_another_interpreter():
    with interpreter("total = await f(1) + await f(2)\ntotal") as run:
        run.start()
        run.resume({0: answer(10)})
        dump = run.dump()
    with interpreter("irrelevant: the dump has the program") as other:
        other.load(dump)
        assert other.resume({1: answer(5)}).outcome == Completed("15")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda dump: dump[:40], "failed to load session"),
        (lambda dump: b"", "not a monty dump"),
        (lambda dump: dump[:6] + b"\x63\x00" + dump[8:], "format version 99 is newer"),
    ],
)
def test_unreadable_dump_is_refused(damage, why):
    with interpreter("await f(1)") as run:
        run.start()
        dump = run.dump()
    with interpreter("") as other, pytest.raises(SnapshotUnusable, match=why):
        other.load(damage(dump))


def test_answer_may_be_an_exception_that_the_workflow_catches():
    source = "try:\n    await f(1)\nexcept KeyError as e:\n    out = repr(e)\nout"
    with interpreter(source) as run:
        run.start()
        turn = run.resume({0: Settled(error_type="KeyError", error_message="k")})
        assert turn.outcome == Completed("\"KeyError('k')\"")


@pytest.mark.parametrize(
    "name", ["OutOfStock", "SystemExit", "StopIteration", "KeyboardInterrupt"]
)
def test_types_the_sandbox_cannot_raise_arrive_as_runtime_error(name):
    source = "try:\n    await f(1)\nexcept Exception as e:\n    out = repr(e)\nout"
    with interpreter(source) as run:
        run.start()
        turn = run.resume({0: Settled(error_type=name, error_message="3 left")})
        assert turn.outcome == Completed("\"RuntimeError('3 left')\"")


def test_every_raisable_type_is_known_to_the_sandbox():
    source = "try:\n    await f(1)\nexcept Exception as e:\n    out = type(e).__name__\nout"
    for name in RAISABLE:
        with interpreter(source) as run:
            run.start()
            turn = run.resume({0: Settled(error_type=name, error_message="m")})
            assert turn.outcome == Completed(f'"{name}"')


def test_uncaught_exception_has_the_sandbox_traceback():
    failed = outcome("async def inner():\n    raise ValueError('boo')\nawait inner()")
    assert (failed.error_type, failed.message, failed.limit) == ("ValueError", "boo", False)
    assert 'File "workflow", line 2, in inner' in failed.traceback


@pytest.mark.parametrize(
    "body",
    [
        "await gather(bad(), f('é'), gather(f(1), g(x=2)))",
        "t = f('é')\n    await gather(bad(), t)",
        "t: object = f('é')\n    await gather(bad(), t)",
        "ts = [bad()] + [f(i) for i in range(3)]\n    await gather(*ts)",
        "ts = [bad()]\n    ts.append(f('é'))\n    await gather(*ts)",
        "await gather(bad(), (t := f('é')))",
    ],
)
def test_calls_given_up_by_a_gather_that_raises_at_once_are_not_forgotten(body):
    source = (
        "from asyncio import gather\nasync def bad(): raise ValueError('é')\n"
        f"try:\n    {body}\nexcept ValueError as e: out = str(e)\nout"
    )
    assert outcome(source) == Completed(codec.encode("é"))


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("def f(:\n 1", "SyntaxError", "Expected a parameter"),
        ("import time\ntime.sleep(1)", "RuntimeError", "write: await asyncio.sleep(...)"),
        (
            "await nope(1)",
            "NameError",
            "'nope' is not a function that this workflow may call; it may call: f, g",
        ),
        ("await gather(f(1))", "NameError", "Write: from asyncio import gather."),
        ("print(nope)", "NameError", "name 'nope' is not defined"),
        ("__import__('os')", "NameError", "'__import__' is not a function"),
        ("import requests", "ModuleNotFoundError", "No module named 'requests'"),
        ("open('/etc/passwd').read()", "PermissionError", "Permission denied"),
        ("import os\nos.getenv('HOME')", "RuntimeError", "'os.getenv' is not supported"),
        ("import os\nos.urandom(3)", "RuntimeError", "'os.urandom' is not supported"),
        ("import asyncio\nawait asyncio.sleep(1e300)", "OverflowError", "at most 100 years"),
        (
            "f(1)",
            "RuntimeError",
            "f(...), called on line 1, was never awaited. Write: await f(...)",
        ),
        ("x = 3\ng(1)\nx", "RuntimeError", "shop.tasks.g"),
        ("t = f(1)\n3", "RuntimeError", "f(...), called on line 1, was never awaited"),
        ("[f(i) for i in range(3)]\n3", "RuntimeError", "f(...), called on line 1, was never"),
        ("async def h(): pass\n[h()]", "RuntimeError", "h(...), called on line 2, was never"),
        ("await f(g(1))", "TypeError", "f() was given a coroutine: await g(...) first"),
        ("def h(): pass\nawait f(h)", "TypeError", "the function h cannot leave the workflow"),
        ("await f(...)", "TypeError", "f(): args"),
        ("int", "TypeError", "The output cannot be stored: output: "),
        ("'x' * 20_000", "TypeError", "The output cannot be stored: output: "),
        ("class P: pass\nawait f({P()})", "TypeError", "f(): unhashable"),
        ("class P: pass\n{P()}", "TypeError", "The output cannot be stored: unhashable"),
        ("await f('x' * 20_000)", "TypeError", "f(): args"),
    ],
)
def test_mistake_has_a_clear_error(source, error_type, message):
    failed = outcome(source)
    assert isinstance(failed, Failed)
    assert failed.error_type == error_type
    assert message.replace("shop.tasks.g", "g(...)") in failed.message


@pytest.mark.parametrize(
    ("source", "error_type", "message", "limit"),
    [
        ("while True: pass", "TimeoutError", "turn time limit exceeded", True),
        ("x = []\nwhile True: x.append('a' * 100_000)", "MemoryError", "memory limit", True),
        ("def r(n): return r(n + 1)\nr(0)", "RecursionError", "maximum recursion depth", False),
        ("for i in range(10**6): print('x' * 100)", "RuntimeError", "MAX_LOG_BYTES", False),
        ("ts = []\nfor i in range(51): ts.append(f(i))", "RuntimeError", "MAX_CALLS", False),
        (
            "while True:\n    try: nope()\n    except NameError: pass",
            "RuntimeError",
            "runs in circles",
            False,
        ),
        ("x = []\nfor i in range(20_000): x = [x]\nx", "TypeError", "cannot be stored", False),
        ("x = [1]\nfor i in range(60): x = [x, x]\nx", "TypeError", "cannot be stored", False),
        (
            "while True:\n    try: await f(print)\n    except TypeError: pass",
            "RuntimeError",
            "made more than 20 calls in one turn whose arguments cannot be stored",
            False,
        ),
    ],
)
def test_limit_has_a_clear_error(source, error_type, message, limit):
    failed = outcome(source)
    assert isinstance(failed, Failed)
    assert (failed.error_type, failed.limit) == (error_type, limit)
    assert message in failed.message


def test_refused_value_is_walked_once(monkeypatch):
    encode, walked = codec.encode, []

    def count(value, **options):
        walked.append(value)
        return encode(value, **options)

    monkeypatch.setattr(codec, "encode", count)
    source = "x = [1]\nfor i in range(60): x = [x, x]\nawait f(x)"
    with interpreter(source) as run:
        walked.clear()
        assert "cannot be stored" not in run.start().outcome.message
    assert len(walked) == 1


def test_functions_like_an_unknown_one_are_looked_for_twenty_times_in_a_turn(monkeypatch):
    looked = []
    monkeypatch.setattr(remedies, "close_to", lambda name, known: looked.append(name))
    source = (
        "for i in range(100):\n    try: await nope()\n"
        "    except NameError as e: last = str(e)\nlast"
    )
    assert outcome(source) == Completed(
        codec.encode("'nope' is not a function that this workflow may call")
    )
    assert len(looked) == 20


def test_calls_are_counted_over_turns():
    with interpreter("for i in range(60): await f(i)") as run:
        turn = run.start()
        for call_id in range(50):
            assert isinstance(turn.outcome, Suspended)
            turn = run.resume({call_id: answer(None)})
        assert isinstance(turn.outcome, Failed)


def test_sleep_is_a_timer_and_overlaps_in_a_gather():
    source = (
        "import asyncio\n"
        "await asyncio.gather(asyncio.sleep(3), asyncio.sleep(0.5), asyncio.sleep(-1))"
    )
    with interpreter(source) as run:
        turn = run.start()
        assert [(call.kind, call.delay) for call in turn.calls] == [
            ("timer", 3.0),
            ("timer", 0.5),
            ("timer", 0.0),
        ]
        assert isinstance(turn.outcome, Suspended)


def test_clock_is_the_hosts_and_is_journalled():
    source = (
        "from datetime import date, datetime, timezone, timedelta\nimport time\n"
        "[datetime.now(), datetime.now(timezone(timedelta(hours=2))), date.today(), time.time()]"
    )
    ticks = iter([NOON + timedelta(seconds=tick) for tick in range(4)])
    with interpreter(source, clock=lambda: next(ticks)) as run:
        turn = run.start()
    assert isinstance(turn.outcome, Completed)
    naive, aware, today, seconds = codec.decode(turn.outcome.output)
    assert naive == NOON.replace(tzinfo=None)
    assert aware == NOON + timedelta(seconds=1)
    assert aware.utcoffset() == timedelta(hours=2)
    assert today == NOON.date()
    assert seconds == NOON.timestamp() + 3
    assert [call.kind for call in turn.calls] == ["clock"] * 4
    assert codec.decode(turn.calls[0].result or "") == naive


def test_random_is_seeded():
    source = "import random\n[random.random(), random.Random().random()]"
    assert outcome(source, seed="a") == outcome(source, seed="a")
    assert outcome(source, seed="a") != outcome(source, seed="b")


def test_functions_are_values_too():
    source = "steps = [f, g]\nout = []\nfor step in steps: out.append(await step(1))\nout"
    with interpreter(source) as run:
        assert [call.function for call in run.start().calls] == ["f"]
        assert [call.function for call in run.resume({0: answer(1)}).calls] == ["shop.tasks.g"]
        assert run.resume({1: answer(2)}).outcome == Completed("[1,2]")


def test_instances_leave_as_records_and_come_back_as_dicts():
    source = "class P:\n    def __init__(self): self.x = [1]\nawait f(P())"
    with interpreter(source) as run:
        (call,) = run.start().calls
        assert codec.decode(call.args) == [{"x": [1]}]
        assert "P" in call.args


def test_inputs_are_variables_and_sets_keep_one_order():
    assert outcome("[x for x in names]", {"names": {"c", "a", "b"}}) == Completed('["a","b","c"]')


def test_crashed_sandbox_is_a_host_fault():
    with interpreter("await f(1)") as run:
        run.start()
        os.kill(run._session.worker_pid, signal.SIGKILL)
        with pytest.raises(HostFault, match="the sandbox process failed"):
            run.resume({0: answer(1)})


def test_forked_child_says_so_instead_of_hanging():
    assert outcome("1") == Completed("1")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as children:
        with pytest.raises(HostFault, match="forked from one that had used the sandbox"):
            children.submit(outcome, "2").result()
    assert outcome("3") == Completed("3")


def test_child_forked_before_has_a_sandbox_of_its_own():
    script = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from tests.sandbox.test_interpreter import outcome

with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as children:
    assert children.submit(outcome, "2 + 2").result().output == "4"
    assert outcome("1").output == "1"
    assert children.submit(outcome, "2 + 3").result().output == "5"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

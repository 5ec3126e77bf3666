"""`play` runs a workflow in the sandbox, with answers of the test and without a database."""

import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import pytest

from durable_monty import NonRetryable, current_call, exceptions
from durable_monty.testing import PlayError, play
from tests.app.workflows import OutOfStock, add

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACEBACK = 'Traceback (most recent call last):\n  File "workflow", line'


def message_of(kind, *args, **kwargs):
    with pytest.raises(kind) as raised:
        play(*args, **kwargs)
    assert isinstance(raised.value, AssertionError)  # a failure of the test, not an error
    return str(raised.value)


# --- what it gives ---


def test_output_log_and_calls():
    source = """
from asyncio import gather

first = await add(number, 2)
print("first", first)
await gather(double(first), add(b=1, a=first))
"""
    played = play(source, {"number": 1}, {"add": [10, 20], "double": lambda x: 3 * x}, now=NOON)
    assert played.output == [30, 20]
    assert played.error is None
    assert played.log == "first 10\n"
    assert played.now == NOON
    assert [(c.order, c.name, c.args, c.kwargs, c.answer) for c in played.calls] == [
        (1, "add", (1, 2), {}, 10),
        (2, "double", (10,), {}, 30),
        (3, "add", (), {"b": 1, "a": 10}, 20),
    ]
    assert [str(call) for call in played.calls_of("add")] == ["add(1, 2)", "add(b=1, a=10)"]
    with pytest.raises(LookupError) as raised:
        played.calls_of("ad")
    assert str(raised.value) == "The workflow cannot call 'ad', only add, double."


def test_the_error_of_a_workflow():
    played = play("print('so far')\n1 / 0")
    traceback = f"{TRACEBACK} 2, in <module>\n    1 / 0\n    ~~~~~\nZeroDivisionError: "
    error = PlayError("ZeroDivisionError", "division by zero", f"{traceback}division by zero")
    assert played.error == error
    assert played.log == "so far\n"
    with pytest.raises(exceptions.PlayFailed) as raised:
        _ = played.output
    assert str(raised.value) == (
        "The workflow has no output, because it failed: ZeroDivisionError: division by zero\n"
        f"{traceback}division by zero"
    )


def test_a_call_that_the_workflow_leaves_behind_is_not_answered():
    source = "from asyncio import gather\ndef end(): raise ValueError('no')\n"
    source += "await gather(add(1, 2), end())"
    (call,) = play(source, answers={"add": 3}).calls
    assert (call.answer, call.is_answered) == (None, False)


# --- time ---


def test_sleeps_end_in_the_order_in_which_they_are_due_and_move_the_clock():
    source = """
from asyncio import gather, sleep
from datetime import datetime, timezone

begun = datetime.now(timezone.utc)

async def nap(days):
    await sleep(days * 86_400)
    print(days)
    return datetime.now(timezone.utc) - begun

await gather(nap(3), nap(1), nap(2))
"""
    played = play(source, now=NOON)
    assert played.output == [timedelta(days=3), timedelta(days=1), timedelta(days=2)]
    assert played.log == "1\n2\n3\n"
    assert played.now == NOON + timedelta(days=3)


def test_functions_take_no_time():
    source = "from asyncio import sleep\nawait add(1, 2)\nawait sleep(60)\nawait add(1, 2)"
    played = play(source, answers={"add": 3}, now=NOON)
    assert [call.at for call in played.calls] == [NOON, NOON + timedelta(minutes=1)]


def test_it_begins_now_and_chance_repeats():
    source = "from datetime import datetime\nimport random\n[datetime.now(), random.random()]"
    before = datetime.now(UTC).replace(tzinfo=None)
    begun, chance = play(source).output
    assert before <= begun <= datetime.now(UTC).replace(tzinfo=None)
    assert play(source).output[1] == chance
    assert play(source, seed="another").output[1] != chance


# --- answers ---


@pytest.mark.parametrize(
    ("answer", "value"),
    [(7, 7), (None, None), ([[1, 2]], [1, 2]), (lambda a, b: [a, b], [1, 2])],
)
def test_an_answer_that_is_a_value(answer, value):
    played = play("await add(1, 2)", answers={"add": answer})
    assert played.output == value
    assert (played.calls[0].answer, played.calls[0].is_answered) == (value, True)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ValueError("no"), "ValueError: no"),
        (LookupError, "LookupError: "),
        (OutOfStock("none left"), "Exception: none left"),
        (NonRetryable("never"), "RuntimeError: never"),
        ([KeyError("key")], "KeyError: key"),
        (lambda a, b: a / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_an_answer_that_is_an_exception(answer, error):
    source = """
try:
    await add(1, 2)
except Exception as error:
    seen = f"{type(error).__name__}: {error.args[0] if error.args else ''}"
seen
"""
    played = play(source, answers={"add": answer})
    assert played.output == error
    assert isinstance(played.calls[0].answer, Exception)


def test_an_async_function_answers():
    async def answer(a, b):
        return a + b

    assert play("await add(1, 2)", answers={"add": answer}).output == 3


def test_answers_pass_the_codec():
    played = play("pair = await add(1, 2)\ntype(pair).__name__", answers={"add": (1, {2})})
    assert played.output == "tuple"
    assert played.calls[0].answer == (1, {2})
    assert play("await add(1, 2)", answers={"add": object()}).error.message == (
        "add() returned what cannot be stored: result: object cannot be stored; pass plain data."
    )


def test_a_call_that_does_not_fit_the_signature_fails_as_in_production():
    error = play("await add(1)", answers={"add": 3}).error
    message = "add() missing 1 required positional argument: 'b'"
    assert (error.type, error.message) == ("TypeError", message)
    error = play("await add(1, c=3)", answers={"add": 3}).error
    assert error.message == "add() got an unexpected keyword argument 'c'"


def test_a_name_that_is_not_registered_may_be_answered():
    assert play("await anything(1, x=2)", answers={"anything": 3}).output == 3


def test_registered_functions_run_when_they_are_asked_for():
    source = "[await add(1, 2), await double(4)]"
    assert play(source, functions=["add", "double"], run=True).output == [3, 8]
    assert play(source, answers={"add": add, "double": 0}).output == [3, 0]
    assert play(source, functions=["add", "double"], answers={"add": 0}, run=True).output == [0, 8]


def test_a_function_that_runs_has_a_current_call(register):
    register("key_of", lambda: current_call().idempotency_key.rpartition(":")[2])
    assert play("[await key_of(), await key_of()]", functions=["key_of"], run=True).output == [
        "0",
        "1",
    ]


# --- sources ---


def test_a_file(tmp_path):
    path = tmp_path / "refund.py"
    path.write_text("await add(number, 2)")
    assert play(path, {"number": 1}, {"add": 3}).output == 3
    assert play(str(path), {"number": 1}, {"add": 3}).output == 3


# --- mistakes ---


def test_a_call_without_an_answer():
    source = "await add(1, 2)\nawait double(x=2)"
    assert message_of(
        exceptions.NoAnswer, source, answers={"add": 1}, functions=[add, "double"]
    ) == (
        "double(x=2) has no answer. Give one with answers={'double': ...}, or use run=True to run "
        "the function. The workflow asked:\n  add(1, 2)\n  double(x=2)"
    )


def test_a_call_for_people_without_an_answer():
    asked = message_of(exceptions.NoAnswer, "await approve(7)", functions=["approve"], run=True)
    assert asked == (
        "approve(7) has no answer. Give one with answers={'approve': ...}. The workflow asked:\n"
        "  approve(7)"
    )


def test_many_calls_before_the_one_without_an_answer():
    source = "for n in range(30): await add(n, 0)\nawait double(1)"
    asked = message_of(
        exceptions.NoAnswer, source, answers={"add": 1}, functions=["add", "double"]
    )
    lines = asked.splitlines()
    assert (lines[1], lines[2], lines[-1]) == ("  (and 11 before)", "  add(11, 0)", "  double(1)")


def test_a_list_that_is_too_short():
    message = message_of(
        exceptions.AnswersUsedUp, "[await add(1, 2), await add(3, 4)]", answers={"add": [3]}
    )
    assert message == (
        "add(3, 4) has no answer: answers['add'] is a list of 1, one for each call, and all are "
        "used. A list as the value of every call is a function that returns it. The workflow "
        "asked:\n  add(1, 2)\n  add(3, 4)"
    )


def test_an_answer_to_nothing():
    options = {"functions": ["add", "double"], "answers": {"ad": 1, "bd": 2, "add": 3}}
    assert message_of(exceptions.UnknownAnswers, "await add(1, 2)", **options) == (
        "answers has 'ad', 'bd', which this workflow cannot call. It can call 'add', 'double'."
    )
    assert message_of(exceptions.UnknownAnswers, "1", answers={"ad": 1}, functions=[]) == (
        "answers has 'ad', which this workflow cannot call. It can call no function."
    )


def test_answers_that_are_no_dict():
    assert message_of(exceptions.WrongAnswers, "await add(1, 2)", {}, [3]) == (
        "answers must be a dict of function names to answers, not list."
    )


def test_a_beginning_without_a_zone():
    message = message_of(exceptions.WrongMoment, "1", now=datetime(2026, 3, 1))
    assert message == (
        "play(now=datetime.datetime(2026, 3, 1, 0, 0)): give an aware time, as with "
        "tzinfo=datetime.UTC."
    )


def test_what_cannot_be_played(tmp_path):
    give = "cannot be played: give a workflow, a source, or a path to a .py file."
    assert message_of(exceptions.NotPlayable, 7) == f"7 {give}"
    missing = tmp_path / "missing.py"
    assert message_of(exceptions.NotPlayable, str(missing)) == (
        f"{str(missing)!r} cannot be played: the file cannot be read: No such file or directory."
    )
    assert message_of(exceptions.NotPlayable, tmp_path) == (
        f"{str(tmp_path)!r} cannot be played: the file is not a .py file."
    )


def test_what_a_start_refuses():
    with pytest.raises(exceptions.UnknownFunction):
        play("1", functions=["nobody"])
    with pytest.raises(exceptions.InvalidInputs):
        play("1", {"not a name": 1})
    with pytest.raises(exceptions.InvalidWorkflow):
        play(" ")


def test_it_needs_django_and_its_import_does_not():
    script = """
        import sys
        import durable_monty.testing
        assert "django" not in sys.modules
        from durable_monty.testing import play
        try:
            play("1")
        except AssertionError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "play() needs Django's settings and apps. Run the test with manage.py test or with "
        "pytest-django, or call django.setup() first.\n"
    )

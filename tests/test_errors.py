"""What a workflow sees of the exceptions of its functions, and what is kept of them."""

import asyncio
import builtins
import concurrent.futures
import decimal
import json

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from pydantic_monty import Monty, MontyRuntimeError

from durable_monty import NonRetryable, RetryAfter
from durable_monty.engine.interpreters import interpreters
from durable_monty.models import Call, Execution, Snapshot
from durable_monty.reads.export import export_json
from durable_monty.sandbox import RAISABLE, nearest
from durable_monty.stubs import stubs_of
from tests.support import advance, run, work

pytestmark = pytest.mark.django_db

BUILTIN = sorted(
    {
        kind
        for kind in vars(builtins).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    },
    key=lambda kind: kind.__name__,
)


class CardDeclined(ValueError):
    pass


class GatewayGone(ConnectionError):
    pass


class InvalidOperation(ValueError):
    pass


class OutOfReach(ValueError):
    pass


class Plain(Exception):
    pass


class Visa(CardDeclined):
    pass


class VisaExpired(Visa):
    pass


class Mixin:
    pass


class NotThere(Mixin, KeyError, AttributeError):
    pass


class NotHere(KeyError):
    def __str__(self):
        return "it is not here"


class Stop(BaseException):
    pass


class Silent(ValueError):
    def __str__(self):
        raise RuntimeError


class Wordy(ValueError):
    def __init__(self, code):
        super().__init__(code, "more")

    def __str__(self):
        return f"code {self.args[0]}"


KeyErrorOfOurs = type("KeyError", (Exception,), {})


@pytest.fixture
def raising(register):
    """Registers a function that raises what is put into `errors`, the first one first."""
    errors = []

    def broken():
        raise errors.pop(0)

    register("broken", broken)
    return errors


@pytest.fixture(scope="module")
def sandbox_has():
    """The names of exceptions that the sandbox defines by itself."""

    def is_defined(name):
        with pool.checkout() as session:
            try:
                session.feed_run(name)
            except MontyRuntimeError:
                return False
            return True

    with Monty() as pool:
        return {kind.__name__ for kind in BUILTIN if is_defined(kind.__name__)}


def caught_as(name):
    return f"""
try:
    await broken()
except {name} as error:
    seen = [type(error).__name__, error.args[0]]
seen
"""


def made(kind):
    if issubclass(kind, BaseExceptionGroup):
        return kind("told", [ValueError()])
    if kind in (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError):
        text = b"x" if kind is UnicodeDecodeError else "x"
        given = (text, 0, 1, "told")
        return kind(*given) if kind is UnicodeTranslateError else kind("ascii", *given)
    return kind("told")


@pytest.mark.parametrize("kind", BUILTIN, ids=lambda kind: kind.__name__)
def test_a_builtin_exception_arrives_as_its_nearest_base_that_the_sandbox_has(
    service, raising, sandbox_has, kind
):
    # A coroutine may not raise StopIteration.
    bases = [base.__name__ for base in kind.__mro__ if base is not StopIteration]
    expected = next(name for name in bases if name in sandbox_has)
    error = made(kind)
    message = str(error) if kind is not KeyError else "told"
    raising.append(error)

    execution = run(caught_as(expected), ["broken"])

    assert service.get_result(execution.pk) == [expected, message]
    call = execution.calls.get()
    assert (call.error_type, call.raised_as or call.error_type) == (kind.__name__, expected)


def test_what_the_sandbox_can_raise_is_what_it_has(sandbox_has):
    assert set(RAISABLE) - {"JSONDecodeError"} == sandbox_has - {"StopIteration"}


@pytest.mark.parametrize(
    ("error", "kept", "caught"),
    [
        (CardDeclined("no"), "CardDeclined", "ValueError"),
        (GatewayGone("no"), "GatewayGone", "OSError"),
        (Plain("no"), "Plain", "Exception"),
        (KeyErrorOfOurs("no"), "KeyError", "Exception"),
        (NonRetryable("no"), "NonRetryable", "RuntimeError"),
        (RetryAfter(3, "no"), "RetryAfter", "RuntimeError"),
        (SystemExit("no"), "SystemExit", "RuntimeError"),
        (json.JSONDecodeError("no", "", 0), "JSONDecodeError", "json.JSONDecodeError"),
    ],
)
def test_other_exceptions_arrive_as_what_can_be_caught(service, raising, error, kept, caught):
    raising.append(error)

    execution = run(f"import json\n{caught_as(caught)}", ["broken"])

    message = "no: line 1 column 1 (char 0)" if "JSON" in kept else "no"
    assert service.get_result(execution.pk) == [caught.removeprefix("json."), message]
    assert execution.calls.get().error_type == kept


SEEN = """
try:
    await broken()
except Exception as error:
    seen = [type(error).__name__, str(error), error_type(error)]
seen
"""


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (CardDeclined("declined"), "ValueError"),
        (CardDeclined(), "ValueError"),
        (VisaExpired("declined"), "ValueError"),
        (Wordy(7), "ValueError"),
        (ValueError("two", 2), "ValueError"),
        (NotThere("x"), "KeyError"),
        (KeyError("x"), "KeyError"),
        (Stop("now"), "RuntimeError"),
        (GeneratorExit("no"), "RuntimeError"),
        (asyncio.CancelledError("gone"), "RuntimeError"),
        (TimeoutError("late"), "TimeoutError"),
        (concurrent.futures.TimeoutError(), "TimeoutError"),
        (concurrent.futures.BrokenExecutor("no"), "RuntimeError"),
        (StopIteration("over"), "Exception"),
        (StopAsyncIteration("over"), "Exception"),
        (ExceptionGroup("both", [ValueError("a"), TypeError("b")]), "Exception"),
        (BaseExceptionGroup("all", [Stop()]), "RuntimeError"),
        (FileNotFoundError(2, "No such file", "x.txt"), "FileNotFoundError"),
        (ConnectionResetError(104, "Connection reset"), "OSError"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UnicodeDecodeError"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "not in range"), "UnicodeEncodeError"),
        (SyntaxError("no", ("file.py", 3, 1, "x")), "SyntaxError"),
        (decimal.InvalidOperation("bad"), "ArithmeticError"),
        (ValidationError(["first", "second"]), "Exception"),
        (IntegrityError("UNIQUE constraint failed"), "Exception"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_an_error_is_its_nearest_ancestor_with_the_text_that_it_has_in_python(
    service, raising, error, base
):
    raising.append(error)

    execution = run(SEEN, ["broken"])

    kept = type(error).__name__
    assert service.get_result(execution.pk) == [base, str(error), kept]
    call = execution.calls.get()
    assert (call.error_type, call.raised_as or call.error_type) == (kept, base)


@pytest.mark.parametrize(
    ("error", "base", "text"),
    [
        # A KeyError shows its message in quotes, as in Python; a number becomes a text.
        (KeyError(5), "KeyError", "'5'"),
        (NotHere("x"), "KeyError", "'it is not here'"),
        (Silent("x"), "ValueError", "(no message: str() of this Silent raised RuntimeError)"),
        (CardDeclined("a\0b\ud800c"), "ValueError", "a\ufffdb\ufffdc"),
        (CardDeclined("x" * 10_001), "ValueError",
         "x" * 9_973 + " … [cut, 10,001 characters]"),
    ],
    ids=["number", "own text", "no text", "characters", "long"],
)  # fmt: skip
def test_where_the_text_is_another(service, raising, error, base, text):
    raising.append(error)

    execution = run(SEEN, ["broken"])

    assert service.get_result(execution.pk) == [base, text, type(error).__name__]


def test_an_error_has_its_message_alone(service, raising):
    error = FileNotFoundError(2, "No such file", "x.txt")
    error.add_note("a note")
    raising.append(error)
    code = """
try:
    await broken()
except OSError as error:
    seen = [error.args, hasattr(error, "errno"), hasattr(error, "__notes__")]
seen
"""
    execution = run(code, ["broken"])

    message = "[Errno 2] No such file: 'x.txt'"
    assert service.get_result(execution.pk) == [(message,), False, False]
    assert "a note" in execution.calls.get().error_traceback


def test_an_exception_that_was_raised_from_another_is_that_one(service, raising):
    error = NonRetryable("given up")
    error.__cause__ = CardDeclined("no")
    raising.append(error)

    execution = run(caught_as("ValueError"), ["broken"])

    assert service.get_result(execution.pk) == ["ValueError", "no"]
    assert execution.calls.get().error_type == "CardDeclined"


def test_an_execution_that_a_call_ended_shows_the_type_that_its_function_raised(service, raising):
    raising += [Plain("caught"), CardDeclined("not enough money")]
    code = """
try:
    await broken()
except Exception:
    pass
await broken()
"""
    execution = run(code, ["broken"])

    assert (execution.error_type, execution.error_message) == ("CardDeclined", "not enough money")
    assert service.poll(execution.pk)["error"] == "CardDeclined: not enough money"
    assert "ValueError: not enough money" in execution.error_traceback


def test_an_exception_of_the_workflow_itself_keeps_its_type(raising):
    raising.append(CardDeclined("no"))
    code = f"{caught_as('ValueError')}\nraise ValueError('mine')"

    assert run(code, ["broken"]).error_type == "ValueError"


def test_a_replay_and_a_fork_raise_it_again(service, raising, durable_settings):
    raising.append(GatewayGone("no"))
    code = f"{caught_as('OSError')}\nawait approve('it')\nseen"
    execution = run(code, ["broken", "approve"])
    interpreters.clear()
    Execution.objects.get().snapshot.delete()  # so that it is replayed

    fork = service.fork_execution(execution.pk, 2)
    for pk in (execution.pk, fork):
        service.complete_call(pk, 1, True)
    work()

    for pk in (execution.pk, fork):
        assert service.get_result(pk) == ["OSError", "no"]
        call = Call.objects.get(execution=pk, call_id=0)
        assert (call.error_type, call.raised_as) == ("GatewayGone", "OSError")


def test_an_error_given_by_hand_arrives_in_the_same_way(service):
    execution = run(caught_as("OSError").replace("broken()", "approve('it')"), ["approve"])

    service.fail_call(execution.pk, 0, GatewayGone("no"))
    work()

    assert service.get_result(execution.pk) == ["OSError", "no"]


def test_the_export_tells_as_what_it_was_raised(raising):
    raising.append(GatewayGone("no"))
    execution = run("await broken()", ["broken"])

    [exported] = json.loads("".join(export_json([execution.pk], "default")))["executions"]

    [call] = exported["calls"]
    assert (call["error"]["type"], call["raised_as"]) == ("GatewayGone", "OSError")
    assert exported["error"]["type"] == "GatewayGone"


def test_a_call_page_tells_both_types(raising, admin_client):
    raising.append(GatewayGone("no"))
    call = run("await broken()", ["broken"]).calls.get()

    page = admin_client.get(f"/admin/durable_monty/call/{call.pk}/change/").content.decode()

    assert "GatewayGone" in page
    assert "OSError" in page


def test_nearest_of_what_has_no_base_that_can_be_caught():
    assert nearest(GeneratorExit) == "RuntimeError"


# --- error_type(error) ---

ASKING = """
seen = []
for number in range(3):
    try:
        await broken()
    except Exception as error:
        seen.append(error_type(error))
"""


def test_a_workflow_tells_types_apart(service, raising):
    raising += [CardDeclined("no"), ValueError("no"), SystemExit("no")]

    execution = run(f"{ASKING}\nseen", ["broken"])

    assert service.get_result(execution.pk) == ["CardDeclined", "ValueError", "SystemExit"]


@pytest.mark.parametrize("is_replayed", [False, True])
def test_it_tells_them_apart_after_a_load_and_in_a_replay(service, raising, is_replayed):
    raising += [CardDeclined("no"), json.JSONDecodeError("no", "", 0)]
    code = """
errors = []
for number in range(2):
    try:
        await broken()
    except Exception as error:
        errors.append(error)
await approve("it")
[error_type(error) for error in errors]
"""
    execution = run(code, ["broken", "approve"])
    assert Execution.objects.get().snapshot
    interpreters.clear()
    if is_replayed:
        Execution.objects.get().snapshot.delete()

    service.complete_call(execution.pk, 2, True)
    work()

    assert service.get_result(execution.pk) == ["CardDeclined", "JSONDecodeError"]


def test_a_replay_knows_at_each_turn_what_was_known_then(service, raising):
    raising.append(CardDeclined("no"))
    code = """
early = error_type(ValueError("no"))
try:
    await broken()
except ValueError as error:
    late = error_type(error)
await approve(early)
[early, late]
"""
    execution = run(code, ["broken", "approve"])
    interpreters.clear()
    Snapshot.objects.update(signature="forged")  # it is read first, and given up

    service.complete_call(execution.pk, Call.objects.get(function="approve").call_id, True)
    advance(execution.pk)

    assert service.get_result(execution.pk) == ["ValueError", "CardDeclined"]


def test_of_errors_with_one_message_the_newest_counts(service, raising):
    raising += [CardDeclined(), InvalidOperation(), CardDeclined()]

    execution = run(f"{ASKING}\nseen", ["broken"])

    assert service.get_result(execution.pk) == ["CardDeclined", "InvalidOperation", "CardDeclined"]


def test_two_that_come_together_with_one_message_cannot_be_told_apart(service):
    code = """
from asyncio import gather
async def one(number):
    try:
        await approve(number)
    except ValueError as error:
        return error_type(error)
await gather(one(1), one(2))
"""
    execution = run(code, ["approve"])
    service.fail_call(execution.pk, 0, CardDeclined("no"))
    service.fail_call(execution.pk, 1, OutOfReach("no"))
    work()

    assert service.poll(execution.pk)["error"] == (
        "RuntimeError: error_type() cannot tell CardDeclined from OutOfReach: they came together, "
        "with one message"
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("error_type(ValueError('mine'))", "ValueError"),
        ("error_type(ValueError())", "ValueError"),
        ("told = error_type\ntold(ValueError())", "ValueError"),
        ("error_type('no')", "TypeError: error_type() takes one exception"),
        ("error_type()", "TypeError: error_type() takes one exception"),
    ],
)
def test_what_else_it_is_given(service, code, told):
    execution = run(code)

    poll = service.poll(execution.pk)
    assert (poll["error"] or poll["output"]) == told


def test_a_function_of_that_name_is_called_instead(service, register):
    register("error_type", lambda text: f"mine: {text}")

    assert service.get_result(run("await error_type('x')", ["error_type"]).pk) == "mine: x"
    assert "def error_type(error: BaseException" not in stubs_of({"error_type": "error_type"}, [])


def test_the_type_checker_knows_it():
    assert "def error_type(error: BaseException, /) -> str: ..." in stubs_of({}, [])
    assert "BaseException" not in stubs_of({}, ["error_type"])

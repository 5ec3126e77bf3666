"""Recorded executions are replayed on today's code."""

import json
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from durable_monty import FUNCTION_REGISTRY, exceptions
from durable_monty.functions import RegisteredFunction
from durable_monty.testing import Durable, replay
from tests.documents import DOCS, code, tables

SOURCE = """
from asyncio import gather, sleep
from datetime import datetime
import random

begun = datetime.now()
numbers = await gather(add(x, 1), double(x), add(random.random(), (1, {2})[0]))
try:
    await fail("OutOfStock", "none left")
except Exception as error:
    told = str(error)
approved = await approve(f"it, since {begun}")
await sleep(3600)
[numbers[:2], told, approved, datetime.now() > begun]
"""
FUNCTIONS = ["add", "double", "fail", "approve"]
OUTPUT = [[5, 8], "none left", True, True]


@pytest.fixture
def started(service, durable):
    """An execution that waits for a person, after some turns."""
    started = service.start_execution(SOURCE, FUNCTIONS, {"x": 4})
    durable.run_until_waiting()
    return started


@pytest.fixture
def finished(started, durable, service):
    user = User.objects.create_user("annabel", "annabel@example.com")
    calls = service.get_pending_calls(started)
    service.complete_call(started, calls[0]["call_id"], True, user=user, reason="a friend")
    assert durable.run_to_end(started) == OUTPUT
    return started


def export(*arguments):
    out = StringIO()
    call_command("durable", "export", *arguments, stdout=out)
    return out.getvalue()


def fixture_of(execution_id):
    return json.loads(export(execution_id, "--fixture"))


def edited(fixture, **changes):
    return {**fixture, "executions": [{**fixture["executions"][0], **changes}]}


def difference(*args, **kwargs):
    with pytest.raises(exceptions.FixtureDiffers) as raised:
        replay(*args, **kwargs)
    assert isinstance(raised.value, AssertionError)
    text = str(raised.value)
    assert text.startswith("The fixture (execution ")
    return text.partition(") cannot go on with this code. ")[2]


# --- recording ---


def test_a_fixture_is_written_to_a_file(finished, tmp_path):
    path = tmp_path / "refund.json"
    assert export(finished, "--fixture", "--output", path) == ""
    replay(path)
    replay(str(path), SOURCE)


def test_a_fixture_names_nobody(finished):
    text = export(finished, "--fixture")
    assert "annabel" not in text
    assert "a friend" not in text
    assert "annabel" in export(finished)


def test_an_export_is_a_fixture_too(finished):
    replay(json.loads(export(finished)), SOURCE)


def test_an_export_of_several(finished, service, durable):
    other = service.start_execution("await add(1, 2)", ["add"])
    durable.run_until_waiting()
    fixture = json.loads(export(finished, other, "--fixture"))
    assert len(fixture["executions"]) == 2
    replay(fixture)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: ACTION"),
        (["export"], "the following arguments are required: ID"),
        (["export", "7"], "'7' is not an execution id (a UUID)."),
        (
            ["export", "01890000-0000-7000-8000-000000000000"],
            "There is no execution 01890000-0000-7000-8000-000000000000.",
        ),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(CommandError) as raised:
        call_command("durable", *arguments, stdout=StringIO())
    assert message in str(raised.value)


def test_a_file_that_cannot_be_written(finished, tmp_path):
    with pytest.raises(CommandError) as raised:
        export(finished, "--output", tmp_path)
    assert str(raised.value) == f"{tmp_path} cannot be written: Is a directory."


def test_table_of_options():
    rows = tables(DOCS / "reference" / "commands.md")["manage.py durable export"]
    documented = [code(row[0])[0].split()[0] for row in rows]
    assert documented == ["--fixture", "--output", "--database"]


# --- replaying ---


def test_an_unfinished_execution(started):
    replay(fixture_of(started), SOURCE)
    replay(
        fixture_of(started), SOURCE.replace('f"it, since {begun}"', '"it, since " + str(begun)')
    )


def test_it_needs_no_database(finished, django_assert_num_queries):
    fixture = fixture_of(finished)
    with django_assert_num_queries(0):
        replay(fixture, SOURCE)


@pytest.mark.django_db
def test_turns_that_began_from_a_snapshot(service):
    started = service.start_execution(SOURCE, FUNCTIONS, {"x": 4})
    for answer in (True, None):
        durable = Durable()
        durable.run_until_waiting()
        durable.close()  # the next turn loads a snapshot
        if answer is not None:
            service.complete_call(started, service.get_pending_calls(started)[0]["call_id"], True)
    fixture = fixture_of(started)
    assert any(call["after_load"] for call in fixture["executions"][0]["calls"])
    replay(fixture, SOURCE)


def test_another_argument(finished):
    told = difference(fixture_of(finished), SOURCE.replace("double(x)", "double(x + 1)"))
    assert told == (
        "Replay differs from the journal at turn 1, call 2: recorded double [4] {}, replayed "
        "double [5] {}."
    )


def test_another_call(finished):
    told = difference(fixture_of(finished), SOURCE.replace("await approve(", "await double("))
    assert "recorded approve ['it, since " in told or 'recorded approve ["it, since ' in told
    assert "replayed double [" in told


def test_an_earlier_end(started):
    told = difference(fixture_of(started), SOURCE.replace("approved = await", "1 / 0; await"))
    assert told.endswith("recorded a suspension, replayed ZeroDivisionError: division by zero.")


def test_another_output(finished):
    told = difference(fixture_of(finished), SOURCE.replace("[numbers[:2], told", "[told"))
    assert told == (
        f"The workflow returned {OUTPUT!r}, and now it returns ['none left', True, True]."
    )


def test_a_failure_where_there_was_an_output(finished):
    told = difference(fixture_of(finished), SOURCE.replace("> begun]", "> begun, 1 / 0]"))
    assert told == (
        f"The workflow returned {OUTPUT!r}, and now it fails with ZeroDivisionError: division by "
        "zero."
    )


def test_a_workflow_that_does_not_end_any_more(finished):
    source = SOURCE.replace("> begun]", "> begun, await approve('again')]")
    told = difference(fixture_of(finished), source)
    assert told.endswith('recorded no such call, replayed approve ["again"] {}.')


def test_a_failed_execution(service, durable):
    failed = service.start_execution("await fail('ValueError', 'no')", ["fail"])
    durable.run_until_waiting()
    fixture = fixture_of(failed)
    replay(fixture)
    assert difference(
        fixture, "try:\n    await fail('ValueError', 'no')\nexcept ValueError: 7"
    ) == ("The workflow failed with ValueError: no, and now it returns None.")
    source = "try:\n    await fail('ValueError', 'no')\nexcept ValueError: {}['k']"
    assert difference(fixture, source) == (
        "The workflow failed with ValueError: no, and now it fails with KeyError: 'k'."
    )


def test_an_execution_that_was_ended_from_outside(started, service):
    service.terminate_execution(started, "enough")
    replay(fixture_of(started), SOURCE)


def test_a_function_that_is_gone(finished):
    fixture = fixture_of(finished)
    program = {**fixture["executions"][0]["program"], "functions": {"add": "subtract"}}
    assert difference(edited(fixture, program=program)) == (
        "The function 'subtract' is not registered any more."
    )


def test_a_function_that_takes_other_arguments(finished, monkeypatch):
    def add(first, *, second):
        pass

    fixture = fixture_of(finished)
    entry = RegisteredFunction("add", add)
    monkeypatch.setitem(FUNCTION_REGISTRY._functions, "add", entry)
    told = difference(fixture, SOURCE)
    assert told.startswith("Call 1, add(4, 1): ")
    assert told.endswith("add() takes 1 positional argument but 2 were given.")


def test_other_functions_for_a_source(finished):
    replay(fixture_of(finished), SOURCE, functions=[*FUNCTIONS, "echo"])
    with pytest.raises(exceptions.UnknownFunction):
        replay(fixture_of(finished), SOURCE, functions=["nobody"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        (
            "{",
            "it is not JSON (Expecting property name enclosed in double quotes: line 1 column 2",
        ),
        ("[]", 'it does not have the format "durable_monty.fixture/1"'),
        ('{"format": "other"}', 'it does not have the format "durable_monty.fixture/1"'),
        (
            '{"format": "durable_monty.fixture/1", "executions": [{"turn": 0}]}',
            "it has an execution that had not begun when it was exported",
        ),
    ],
)
def test_what_is_no_fixture(tmp_path, content, why):
    path = tmp_path / "refund.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(exceptions.NotAFixture) as raised:
        replay(path)
    assert str(raised.value).startswith(f"{path} is no fixture: {why}")
    assert str(raised.value).endswith(
        ". Write one with `manage.py durable export ID --fixture --output FILE`."
    )

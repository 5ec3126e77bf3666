"""`Durable` runs executions within a test, in its thread, connection and transaction."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from durable_monty import FUNCTION_REGISTRY, Retry, current_call, exceptions
from durable_monty.engine.interpreters import interpreters
from durable_monty.functions import RegisteredFunction
from durable_monty.models import Call, Execution, WorkerProcess, clock
from durable_monty.testing import Durable
from tests.app import plain

MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 86_400
NAP = f"from asyncio import sleep\nawait sleep({DAY})\n'rested'"
REMINDERS = f"""
from asyncio import sleep
for day in range(3):
    await sleep({DAY})
    await remind(f"day {{day}}")
"""


def write_down(text="charged"):
    """An effect in the database. Its names are unique."""
    Group.objects.create(name=f"{text} {Group.objects.count()}")


def status_of(execution_id):
    return Execution.objects.get(pk=execution_id).status


# --- running ---


def test_it_runs_what_is_due_and_stops_where_only_people_help(durable, service):
    first = service.start_execution("await add(1, 2)", ["add"])
    second = service.start_execution("await approve('it')", ["approve"])
    durable.run_until_waiting()
    assert service.get_result(first) == 3
    assert status_of(second) == "waiting"
    durable.answer("approve", True)
    assert durable.run_to_end(second) is True


def test_functions_run_in_the_thread_and_transaction_of_the_test(durable, service, register):
    seen = []

    def look():
        seen.append((threading.current_thread(), connection.in_atomic_block))

    register("look", look)
    durable.run_to_end(service.start_execution("await look()", ["look"]))
    assert seen == [(threading.current_thread(), True)]
    assert not WorkerProcess.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_of_the_test(durable, service, register):
    seen = []
    register("look", lambda: seen.append(connection.in_atomic_block))
    durable.crash_here("look")
    assert durable.run_to_end(service.start_execution("await look()\n7", ["look"])) == 7
    assert seen == [False, False]


def test_a_run_to_the_end_moves_time_to_each_sleep_and_retry(durable, service, register):
    attempts = []

    def fail_twice():
        attempts.append(durable.now)
        if len(attempts) < 3:
            raise ValueError("not yet")

    register("fail_twice", fail_twice, retry=Retry(max_attempts=3, initial=60, jitter=0))
    durable.freeze(MARCH)
    started = service.start_execution(f"{NAP}\nawait fail_twice()\n'done'", ["fail_twice"])
    assert durable.run_to_end(started) == "done"
    rested = MARCH + timedelta(days=1)
    assert attempts == [rested, rested + timedelta(minutes=1), rested + timedelta(minutes=3)]


def test_all_executions_run_to_their_ends(durable, service):
    ids = [service.start_execution(NAP, []) for _ in range(3)]
    assert durable.run_to_end() is None
    assert {status_of(each) for each in ids} == {"completed"}


def test_what_becomes_due_while_others_run_is_not_left(durable, service, monkeypatch):
    run_until_waiting = durable.run_until_waiting

    def run_slowly():
        run_until_waiting()
        clock.offset += timedelta(days=2)

    monkeypatch.setattr(durable, "run_until_waiting", run_slowly)
    durable.freeze(MARCH)
    assert durable.run_to_end(service.start_execution(NAP, [])) == "rested"


def test_the_output_of_an_execution_that_failed(durable, service):
    started = service.start_execution("1 / 0", [])
    with pytest.raises(exceptions.ExecutionNotCompleted) as raised:
        durable.run_to_end(started)
    assert str(raised.value) == (
        f"Execution {started} has no result: its status is failed "
        "(ZeroDivisionError: division by zero)."
    )


def test_time_does_not_answer_for_people(durable, service):
    sleeps = service.start_execution(NAP, [])
    waits = service.start_execution("await approve('it')", ["approve"], name="trial")
    with pytest.raises(exceptions.StillWaiting) as raised:
        durable.run_to_end()
    assert str(raised.value) == (
        "Time alone does not bring these executions to their end. Answer calls with answer() or "
        f"fake():\n  trial {waits} waits for approve('it')"
    )
    assert service.get_result(sleeps) == "rested"


def test_a_paused_execution_does_not_end(durable, service):
    started = service.start_execution(NAP, [])
    service.pause_execution(started, "for lunch")
    with pytest.raises(exceptions.StillWaiting) as raised:
        durable.run_to_end(started)
    assert str(raised.value).endswith(f"\n  {started} is paused: for lunch")


def test_a_workflow_that_never_ends(durable, service, monkeypatch):
    monkeypatch.setattr("durable_monty.testing.durable._MOST_STEPS", 5)
    source = "from asyncio import sleep\nwhile True: await sleep(60)"
    started = service.start_execution(source, [])
    with pytest.raises(exceptions.NeverEnds) as raised:
        durable.run_to_end(started)
    assert str(raised.value) == (
        "Time was moved 5 times, to the end of a sleep or to the next attempt of a call, and "
        "these executions go on. Use skip() for workflows that never end:\n"
        f"  {started} is waiting"
    )


# --- time ---


def test_skipped_time_runs_what_becomes_due_on_the_way(durable, service, register):
    register("remind", write_down)
    durable.freeze(MARCH)
    service.start_execution(REMINDERS, ["remind"])
    durable.skip(days=2, hours=1)
    assert durable.now == MARCH + timedelta(days=2, hours=1)
    assert [group.name for group in Group.objects.order_by("pk")] == ["day 0 0", "day 1 1"]
    durable.skip(timedelta(days=1))
    assert Group.objects.count() == 3


def test_deadlines_pass(durable, service):
    started = service.start_execution(
        "try:\n    await approve('it')\nexcept TimeoutError:\n    told = 'too late'\ntold",
        ["approve"],
        deadline=timedelta(days=1),
    )
    durable.skip(days=2)
    assert service.get_result(started) == "too late"


def test_frozen_time_stands_still_everywhere(durable, service):
    assert durable.freeze(MARCH) == MARCH
    source = "from datetime import datetime, timezone\ndatetime.now(timezone.utc)"
    started = service.start_execution(source, [])
    assert durable.run_to_end(started) == MARCH
    execution = Execution.objects.get(pk=started)
    assert {execution.created_at, execution.started_at, execution.finished_at} == {MARCH}
    assert durable.now == MARCH


def test_time_stops_at_the_present_in_milliseconds(durable):
    before = durable.now - timedelta(milliseconds=1)
    stopped = durable.freeze()
    assert before <= stopped == durable.now
    assert stopped.microsecond % 1000 == 0
    assert stopped == durable.freeze(stopped.astimezone())


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (
            lambda durable: durable.skip(days=-1),
            "skip(datetime.timedelta(days=-1)): time does not go back.",
        ),
        (
            lambda durable: durable.freeze(datetime(2026, 3, 1)),
            "freeze(datetime.datetime(2026, 3, 1, 0, 0)): give an aware time, as with "
            "tzinfo=datetime.UTC.",
        ),
    ],
)
def test_wrong_moments(durable, move, message):
    with pytest.raises(exceptions.WrongMoment) as raised:
        move(durable)
    assert str(raised.value) == message


# --- answers ---


def test_an_answer_may_be_an_exception(durable, service):
    source = "try:\n    await approve('it')\nexcept ValueError as e:\n    text = str(e)\ntext"
    started = service.start_execution(source, ["approve"])
    durable.run_until_waiting()
    durable.answer("approve", ValueError("never"))
    assert durable.run_to_end(started) == "never"


def test_no_call_to_answer(durable, service, register):
    with pytest.raises(exceptions.NoOpenCall) as raised:
        durable.answer("approve", True)
    assert str(raised.value) == (
        "No call of 'approve' is open, so none can be answered. Has run_until_waiting() run the "
        "executions up to it? None is open."
    )
    register("review", lambda what: None, executor="manual")
    started = service.start_execution("await review('it')", ["review"])
    durable.run_until_waiting()
    with pytest.raises(exceptions.NoOpenCall) as raised:
        durable.answer("approve", True)
    assert str(raised.value).endswith(
        f"Open are:\n  review('it'): execution_id={started!r}, call_id=0"
    )


def test_several_calls_to_answer(durable, service):
    source = "from asyncio import gather\nawait gather(approve('a'), approve('b'))"
    started = service.start_execution(source, ["approve"])
    durable.run_until_waiting()
    with pytest.raises(exceptions.SeveralOpenCalls) as raised:
        durable.answer("approve", True)
    assert str(raised.value) == (
        "2 calls of 'approve' are open. Choose one with execution_id=, or with call_id= too:\n"
        f"  approve('a'): execution_id={started!r}, call_id=0\n"
        f"  approve('b'): execution_id={started!r}, call_id=1"
    )
    durable.answer("approve", True, call_id=0)
    durable.answer("approve", False, execution_id=started)
    assert durable.run_to_end(started) == [True, False]


def test_an_unknown_function(durable):
    for ask in (durable.fake, durable.crash_here, lambda name: durable.answer(name, 1)):
        with pytest.raises(exceptions.UnknownFunction):
            ask("aprove")


# --- fakes ---


def test_a_fake_answers_and_remembers(durable, service):
    add = durable.fake("add", returns=10)
    assert durable.run_to_end(service.start_execution("await add(1, b=2)", ["add"])) == 10
    add.assert_called_once_with(1, b=2)


@pytest.mark.parametrize("name", ["async_double", "double"])
def test_side_effects_of_sync_and_async_functions(durable, service, name):
    durable.fake(name, side_effect=[1, ValueError("no"), 3])
    source = f"""
seen = []
for _ in range(3):
    try:
        seen.append(await {name}(1))
    except ValueError as error:
        seen.append(str(error))
seen
"""
    assert durable.run_to_end(service.start_execution(source, [name])) == [1, "no", 3]


def test_a_fake_has_the_signature_of_its_function(durable, service):
    durable.fake("add", returns=10)
    source = "try:\n    await add(*one)\nexcept TypeError as error:\n    told = str(error)\ntold"
    started = service.start_execution(source, ["add"], {"one": [1]})
    assert durable.run_to_end(started) == "add() missing 1 required positional argument: 'b'"


def test_people_can_be_faked(durable, service):
    durable.fake("approve", side_effect=[True, ValueError("away")])
    source = """
seen = [await approve("a")]
try:
    await approve("b")
except ValueError as error:
    seen.append(str(error))
seen
"""
    assert durable.run_to_end(service.start_execution(source, ["approve"])) == [True, "away"]


@pytest.mark.parametrize("name", ["double", "async_double", "approve"])
def test_a_fake_without_values_left(durable, service, name):
    durable.fake(name, side_effect=[])
    service.start_execution(f"await {name}('it')", [name])
    with pytest.raises(exceptions.FakeUsedUp) as raised:
        durable.run_until_waiting()
    assert str(raised.value) == (
        f"{name}('it') has no answer: the side_effect of fake({name!r}) has no value left."
    )


def test_functions_by_other_names(durable, service, monkeypatch):
    entry = RegisteredFunction("tests.app.plain.shorten", plain.shorten)
    monkeypatch.setitem(FUNCTION_REGISTRY._functions, entry.name, entry)
    for given in (entry.name, "shorten", plain.shorten):
        fake = durable.fake(given, returns="short")
        started = service.start_execution("await shorten('longer')", [plain.shorten])
        assert durable.run_to_end(started) == "short"
        fake.assert_called_once_with("longer")


# --- crashes ---


def test_a_crash_runs_the_call_again(durable, service, register):
    keys = []

    def charge():
        keys.append(current_call().idempotency_key)
        write_down()
        return len(keys)

    register("charge", charge)
    durable.crash_here("charge")
    assert durable.run_to_end(service.start_execution("await charge()", ["charge"])) == 2
    assert len(set(keys)) == 1
    assert Group.objects.count() == 2  # not idempotent, and the test shows it
    attempt = Call.objects.get().attempts.get()
    assert (attempt.outcome, attempt.error_message) == (
        "lost",
        "Its worker vanished: the lease ran out.",
    )


def test_a_transactional_function_leaves_nothing_behind_when_it_crashes(
    durable, service, register
):
    runs = []

    def charge():
        runs.append(write_down())

    register("charge", charge, transactional=True)
    durable.crash_here("charge")
    durable.run_to_end(service.start_execution("await charge()", ["charge"]))
    assert (len(runs), Group.objects.count()) == (2, 1)


def test_a_fake_can_crash(durable, service):
    add = durable.fake("add", returns=3)
    durable.crash_here("add")
    assert durable.run_to_end(service.start_execution("await add(1, 2)", ["add"])) == 3
    assert add.call_count == 2


def test_a_call_that_crashes_too_often_is_given_up(durable, service):
    durable.crash_here("add", times=3)
    started = service.start_execution("await add(1, 2)", ["add"])
    with pytest.raises(exceptions.ExecutionNotCompleted) as raised:
        durable.run_to_end(started)
    assert "add() was given up: its worker vanished 3 times in a row" in str(raised.value)


def test_people_do_not_crash(durable):
    with pytest.raises(exceptions.NothingToCrash) as raised:
        durable.crash_here("approve")
    assert str(raised.value) == (
        "Calls of 'approve' are answered by people: no process runs it that could crash."
    )


def test_a_crash_that_never_came(db):
    durable = Durable()
    durable.crash_here("add")
    with pytest.raises(exceptions.CrashNeverCame) as raised:
        durable.close()
    assert str(raised.value) == (
        "crash_here() was told to crash 'add', but the test ended before it ran so often."
    )
    durable.close()


# --- leaks ---


def test_nothing_is_left(db, service):
    before = clock.offset, clock.stopped, dict(FUNCTION_REGISTRY)
    threads = {*threading.enumerate()}
    durable = Durable()
    durable.freeze(MARCH)
    durable.skip(days=1)
    durable.fake("add", returns=0)
    service.start_execution("await approve(await add(1, 2))", ["add", "approve"])
    durable.run_until_waiting()
    durable.close()
    assert (clock.offset, clock.stopped, dict(FUNCTION_REGISTRY)) == before
    assert {*threading.enumerate()} <= threads
    assert len(interpreters) == 0


def test_an_error_in_the_middle_gives_executions_back(db, service):
    durable = Durable()
    durable.fake("add", side_effect=[])
    started = service.start_execution("await add(1, 2)", ["add"])
    with pytest.raises(exceptions.FakeUsedUp):
        durable.run_until_waiting()
    assert Execution.objects.get(pk=started).claim is None
    durable.close()

import re

import pytest
from django.utils import translation

from durable_monty import Retry, operations
from durable_monty.models import Attempt, Call, Execution, WorkerProcess
from durable_monty.models.clock import database_now
from durable_monty.operations import Answer
from tests.admin.pages import text_of, url_of
from tests.support import run, work


@pytest.fixture
def rows(viewer):
    """What the rows of the page of the only execution say of their bars: (label, classes)."""

    def read():
        page = viewer.get(url_of(Execution.objects.get())).content.decode()
        return [
            (
                re.search('aria-label="(.*?)"', svg)[1],
                re.findall(r'<rect class="dm-phase dm-(.*?)"', svg),
            )
            for svg in re.findall(r'<svg class="dm-bars".*?</svg>', page, re.DOTALL)
        ]

    return read


@pytest.fixture
def double(asked):
    """Claims the call of a workflow that calls double(), and settles what was claimed."""
    call = asked("await double(1)", ["double"])

    class Worker:
        def start(self):
            (self.claim,) = operations.claim_calls(["double"], ["default"], 1, using="default")
            operations.start_attempts([self.claim], using="default")

        def fail(self, retry_in):
            answer = Answer.of_error("OSError", "down")._replace(retry_in=retry_in)
            operations.settle_attempt(self.claim, answer, using="default")

        def answer(self):
            operations.settle_attempt(self.claim, Answer(result="2"), using="default")

    worker = Worker()
    worker.call = call
    return worker


def test_a_person(asked, rows, move_clock, service):
    call = asked()
    move_clock(90)
    assert rows() == [("waited for a person 1 min so far", ["waits dm-open"])]

    service.complete_call(call.execution_id, 0, True)
    assert rows() == [("waited for a person 1 min: Completed", ["waits dm-was-completed"])]


def test_a_sleep(asked, rows, move_clock):
    asked("import asyncio\nawait asyncio.sleep(3600)", [])
    move_clock(30 * 60)
    assert rows() == [("slept 30 min so far", ["waits dm-open"])]


def test_a_function_is_queued_and_runs(double, rows, move_clock):
    move_clock(5 * 60)
    assert rows() == [("in the queue 5 min so far", ["queued dm-open"])]

    double.start()
    move_clock(20 * 60)
    assert rows() == [
        ("in the queue 5 min; attempt 1 ran 20 min so far", ["queued", "running dm-open"])
    ]

    double.answer()
    assert rows() == [
        (
            "in the queue 5 min; attempt 1 ran 20 min: Completed",
            ["queued", "running dm-was-completed"],
        )
    ]


def test_attempts_and_the_waits_between_them(double, rows, move_clock):
    move_clock(5 * 60)
    double.start()
    move_clock(10 * 60)
    double.fail(retry_in=3600)
    move_clock(30 * 60)
    failed = "in the queue 5 min; attempt 1 ran 10 min: Failed; waited for its next attempt "
    assert rows() == [
        (f"{failed}30 min so far", ["queued", "running dm-was-failed", "waits dm-open"])
    ]

    # It is due, and no worker has come.
    move_clock(3600)
    assert rows()[0][0] == f"{failed}1 h; in the queue 30 min so far"

    double.start()
    move_clock(2 * 60)
    double.answer()
    label, classes = rows()[0]
    assert label == f"{failed}1 h 30 min; attempt 2 ran 2 min: Completed"
    assert classes[-1] == "running dm-was-completed"


def test_why_it_is_tried_again(double, viewer, move_clock):
    double.start()
    double.fail(retry_in=3600)

    page = text_of(viewer.get(url_of(double.call.execution)))

    assert re.search(r"Pending attempt 2, retries at [^(]* OSError: down", page)


def test_why_it_failed(asked, viewer, service):
    call = asked()
    service.fail_call(call.execution_id, 0, f"no {'money ' * 50}")

    (row,) = viewer.get(url_of(call.execution)).context["calls"].rows

    assert row.error.startswith("RuntimeError: no money money")
    assert row.error.endswith("…")
    assert len(row.error) == len("RuntimeError: ") + 200


def test_how_far_it_is(double, viewer, clerk):
    double.start()
    worker = operations.register_worker("local", ["double"], using="default")
    Call.objects.update(worker=worker)
    doing = f"attempt 1 on {WorkerProcess.objects.get()}, 42% done, frame 12"
    operations.beat_call(double.claim, 0.429, "frame 12", using="default")
    execution = double.call.execution

    response = viewer.get(url_of(execution))

    assert response.context["sentence"].endswith(f" for a call: double ({doing}).")
    (row,) = response.context["calls"].rows
    assert row.detail == doing
    assert f"Waits for {doing}." in text_of(clerk.get(url_of(double.call)))

    # Of an attempt that is over it says nothing.
    double.fail(retry_in=3600)
    assert "42%" not in viewer.get(url_of(execution)).context["sentence"]


def test_the_last_attempt_is_drawn_once(db, rows, register, move_clock):
    def flaky():
        raise OSError("down")

    register("flaky", flaky, retry=Retry(max_attempts=2, initial=60, jitter=0))
    run("await flaky()", ["flaky"])
    move_clock(61)
    work()

    label, classes = rows()[0]
    assert Attempt.objects.count() == 2
    assert label.count("ran") == 2
    assert label.endswith(": Failed")
    assert classes.count("running dm-was-failed") == 2


def test_an_attempt_that_was_lost(double, rows, move_clock):
    double.start()
    move_clock(120)
    double.start()
    move_clock(180)

    label, classes = rows()[0]
    assert re.search(r"attempt 1 ran 2 min: Lost; in the queue .*; attempt 2 ran 3 min so", label)
    assert classes[-3:] == ["running dm-was-lost", "queued", "running dm-open"]


def test_a_stop_marks_what_did_not_succeed(double, viewer, move_clock):
    double.start()
    move_clock(10)
    page = viewer.get(url_of(double.call.execution)).content.decode()
    assert 'class="dm-stop"' not in page

    double.fail(retry_in=60)
    page = viewer.get(url_of(double.call.execution)).content.decode()
    assert page.count('class="dm-stop"') == 1


def test_a_call_that_was_withdrawn(asked, rows, service, move_clock):
    call = asked()
    move_clock(60)
    service.terminate_execution(call.execution_id)
    assert rows() == [("waited for a person 1 min: Cancelled", ["waits dm-was-cancelled"])]


def test_a_clock_reading_takes_no_time(db, rows):
    run("import datetime\nstr(datetime.datetime.now())")
    assert rows() == [("ran 0 ms: Completed", ["running dm-was-completed"])]


def test_a_long_wait_is_folded_and_says_how_long(double, viewer, service, move_clock):
    double.start()
    move_clock(10)
    double.fail(retry_in=7200)
    move_clock(7000)

    page = viewer.get(url_of(double.call.execution)).content.decode()

    assert "<title>1 h 56 min in which nothing ran, not drawn to scale</title>" in page
    assert re.search(r'<text [^>]*class="dm-folded">1 h 56 min</text>', page)
    assert re.search(r"<text [^>]*>now</text>", page)


def test_all_numbers_of_the_drawing_are_integers(double, admin_client, move_clock, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    double.start()
    move_clock(10)
    double.fail(retry_in=7200)
    move_clock(7000)

    with translation.override("de"):
        url = url_of(double.call.execution)
        page = admin_client.get(url, headers={"accept-language": "de"}).content.decode()

    for svg in re.findall(
        r'<svg class="dm-(?:axis|ground|bars|sample)".*?</svg>', page, re.DOTALL
    ):
        for name, value in re.findall(r' (x|y|width|height|viewBox|d)="(.*?)"', svg):
            assert re.fullmatch(r"[MHVz\d %]+", value), (name, value)


def test_the_page_of_a_call_tells_its_phases(double, clerk, move_clock):
    double.start()
    move_clock(60)
    double.fail(retry_in=3600)
    move_clock(120)

    response = clerk.get(url_of(double.call))

    text = text_of(response)
    assert "3 min ago : attempt 1 ran 1 min: Failed" in text
    assert "2 min ago : waited for its next attempt 2 min so far" in text
    assert response.content.count(b'class="dm-bars"') == 1


def test_attempts_beyond_the_page_are_one_wait(double, rows, monkeypatch):
    monkeypatch.setattr("durable_monty.reads.timeline._ATTEMPTS", 2)
    now = database_now("default")
    Attempt.objects.bulk_create(
        Attempt(call=double.call, number=number, outcome="failed", started_at=now, ended_at=now)
        for number in range(1, 6)
    )
    Call.objects.update(failures=5, attempt=5, due_at=None)

    assert len(rows()) == 1

"""Time travel, on the pages of an execution's turns."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from durable_monty.exceptions import HostFault
from durable_monty.models import Call, Execution, Program
from tests.admin.pages import text_of, url_of
from tests.support import run

SUMS = """
total = 0
for n in range(3):
    total += await double(n)
    print(f"total {total}")
approved = await approve(f"{total} €")
[total, approved]
"""


def turn_url(execution, turn):
    return reverse("admin:durable_monty_execution_turn", args=[execution.pk, turn])


def turns_url(execution):
    return reverse("admin:durable_monty_execution_turns", args=[execution.pk])


@pytest.fixture
def sums(db):
    return run(SUMS, ["double", "approve"], name="sums")


@pytest.fixture
def turn(viewer):
    """What the page of a turn shows: came in, asked, paused lines, printed."""

    def read(execution, number):
        response = viewer.get(turn_url(execution, number))
        assert response.status_code == 200
        context = response.context
        return (
            [(call.link.split(">")[1][:-3], call.value) for call in context["delivered"]],
            [(call.link.split(">")[1][:-3], call.value) for call in context["started"]],
            [(line.number, line.here) for line in context["source"].lines if line.here],
            context["printed"],
        )

    return read


def test_each_turn_as_it_was(sums, turn, service):
    assert turn(sums, 1) == ([], [("double #0", "0")], [(4, "paused here")], "")
    assert turn(sums, 2) == (
        [("double #0", "0")],
        [("double #1", "1")],
        [(4, "paused here")],
        "total 0\n",
    )
    assert turn(sums, 4) == (
        [("double #2", "4")],
        [("approve #3", '"6 €"')],
        [(6, "paused here")],
        "total 6\n",
    )

    service.complete_call(sums.pk, 3, True)
    service.process_execution(sums.pk)
    assert turn(sums, 5) == ([("approve #3", "true")], [], [], "")
    # As they were, whatever has happened since.
    assert turn(sums, 4)[2] == [(6, "paused here")]


def test_answers_that_come_one_by_one(asked, turn, service):
    call = asked(
        "from asyncio import gather\nawait gather(approve(1), approve(2), approve(3))",
    )
    for number in (2, 0, 1):
        service.complete_call(call.execution_id, number, bool(number))
        service.process_execution(call.execution_id)

    assert [turn(call.execution, number)[0] for number in (2, 3, 4)] == [
        [("approve #2", "true")],
        [("approve #0", "false")],
        [("approve #1", "true")],
    ]
    assert [turn(call.execution, number)[2] for number in (1, 2, 3, 4)] == [
        [(2, "paused here")],
        [(2, "paused here")],
        [(2, "paused here")],
        [],
    ]


def test_the_error_of_a_call_and_where_it_was_raised(db, turn):
    execution = run("try:\n    await fail('KeyError', 'k')\nexcept KeyError:\n    raise", ["fail"])

    delivered, asked, here, _printed = turn(execution, 2)

    assert delivered == [("fail #0", "KeyError: k")]
    assert asked == []
    assert [text for _number, text in here] == ["raised here"]


def test_it_was_cancelled_afterwards(asked, turn, viewer, service):
    call = asked()
    service.terminate_execution(call.execution_id)

    assert turn(call.execution, 1)[2] == [(1, "paused here")]
    assert "Cancelled Committed" in text_of(viewer.get(turn_url(call.execution, 1)))


def test_clock_readings_are_asked_and_not_delivered(db, turn):
    source = "import datetime\nnow = str(datetime.datetime.now())\nawait double(1)"
    execution = run(source, ["double"])

    assert [name for name, _value in turn(execution, 1)[1]] == ["datetime.now #0", "double #1"]
    assert [name for name, _value in turn(execution, 2)[0]] == ["double #1"]


def test_steps(sums, viewer):
    def links(number):
        pager = viewer.get(turn_url(sums, number)).context["pager"]
        urls = (pager.first, pager.previous, pager.next, pager.last)
        return [url.removesuffix("#dm-steps") for url in urls]

    assert links(1) == ["", "", turn_url(sums, 2), turn_url(sums, 4)]
    assert links(3) == [turn_url(sums, number) for number in (1, 2, 4, 4)]
    assert links(4) == [turn_url(sums, 1), turn_url(sums, 3), "", ""]
    assert f'<a href="{turns_url(sums)}">Step through turns (4)</a>' in (
        viewer.get(url_of(sums)).content.decode()
    )


@pytest.mark.parametrize(
    ("query", "number"), [("", 4), ("?turn=2", 2), ("?turn=0", 1), ("?turn=99", 4), ("?turn=x", 4)]
)
def test_the_way_to_a_turn(sums, viewer, query, number):
    response = viewer.get(turns_url(sums) + query)

    assert response.url == f"{turn_url(sums, number)}#dm-steps"


def test_no_turn_yet(service, viewer):
    service.start_execution("1", [])
    execution = Execution.objects.get()

    assert viewer.get(turns_url(execution)).url == url_of(execution)
    assert viewer.get(turn_url(execution, 1)).status_code == 404


def test_no_such_turn(sums, viewer):
    for url in (
        turn_url(sums, 0),
        turn_url(sums, 5),
        turn_url(Execution(pk=uuid.uuid4()), 1),
        turns_url(Execution(pk="nonsense")),
    ):
        assert viewer.get(url).status_code == 404
    assert viewer.post(turn_url(sums, 1)).status_code == 405


def test_what_the_user_may_not_see(sums, staff, client):
    page = text_of(staff("view_execution", name="one").get(turn_url(sums, 2)))
    assert "total 0" in page
    assert "double" not in page

    assert staff("view_call", name="two").get(turn_url(sums, 2)).status_code == 403
    assert client.get(turn_url(sums, 2)).status_code == 302


UNKNOWN = "The printed output and the position are unknown: "


def test_a_mismatch_is_told(sums, viewer):
    Program.objects.update(source=SUMS.replace("double(n)", "double(n + 1)"))

    page = text_of(viewer.get(turn_url(sums, 2)))

    assert (
        f"{UNKNOWN}Replay differs from the journal at turn 1, call 0: recorded double [0] {{}}, "
        "replayed double [1] {}."
    ) in page
    assert "Output printed Nothing" not in page
    # Of the last turn the row itself knows.
    here = viewer.get(turn_url(sums, 4)).context["source"].here
    assert here == 6


def test_a_sandbox_that_cannot_be_used_is_told(sums, viewer, monkeypatch, log):
    def broken(*args, **kwargs):
        raise failure

    monkeypatch.setattr("durable_monty.sandbox.interpreter.checkout", broken)
    failure = HostFault("this process was forked")
    assert f"{UNKNOWN}this process was forked" in text_of(viewer.get(turn_url(sums, 2)))
    assert log.records == []

    failure = FileNotFoundError("no such program")
    page = text_of(viewer.get(turn_url(sums, 2)))
    assert f"{UNKNOWN}FileNotFoundError: no such program" in page
    assert [record.message for record in log.records] == [
        f"turn 2 of execution {sums.pk} (sums) could not be replayed"
    ]


def test_rows_that_nobody_of_ours_has_written_are_told(sums, viewer):
    Call.objects.filter(call_id=0).update(result="nonsense")
    assert UNKNOWN in text_of(viewer.get(turn_url(sums, 2)))


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        (("_MAX_CALLS", 1), "more than 1 calls would have to be replayed for it"),
        (("_MAX_CHARACTERS", 5), "the values of its calls are too large to be replayed"),
        (("_MAX_SECONDS", 0), "its replay takes more than 0 seconds"),
    ],
)
def test_a_replay_is_bounded(sums, viewer, monkeypatch, limit, why):
    name, value = limit
    monkeypatch.setattr(f"durable_monty.reads.turns.{name}", value)

    page = text_of(viewer.get(turn_url(sums, 3)))

    assert f"{UNKNOWN}{why}" in page
    assert "double #1" in page


def test_a_lowered_limit_does_not_refuse_what_was_printed(db, turn, durable_settings):
    execution = run("print('x' * 500)\nawait double(1)", ["double"])
    durable_settings(MAX_LOG_BYTES=10)

    assert turn(execution, 1)[3] == "x" * 500 + "\n"


def test_nothing_is_changed(sums, viewer):
    def rows():
        return [*Execution.objects.values(), *Call.objects.order_by("pk").values()]

    before = rows()
    for number in range(1, 5):
        viewer.get(turn_url(sums, number))
    assert rows() == before


def test_turns_that_began_from_a_load(asked, turn, service):
    """The default repr of an object changes with each load, and so it does here."""
    call = asked("class A: pass\na = A()\nfor n in range(3):\n    await approve(n)\n    print(a)")
    for number in range(3):
        service.complete_call(call.execution_id, number, True)
        service.process_execution(call.execution_id)
    execution = Execution.objects.get()
    assert Call.objects.filter(after_load=True).count() == 3

    printed = [turn(execution, number)[3] for number in (2, 3, 4)]

    assert "".join(printed) == execution.log


def test_many_calls_of_one_turn(asked, viewer):
    call = asked("from asyncio import gather\nawait gather(*[approve(n) for n in range(130)])")

    page = text_of(viewer.get(turn_url(call.execution, 1)))

    assert "approve #99" in page
    assert "approve #100" not in page
    assert "and 30 more" in page


def test_queries_do_not_grow(sums, asked, viewer):
    wide = asked("from asyncio import gather\nawait gather(*[approve(n) for n in range(120)])")
    for execution, number in ((sums, 2), (wide.execution, 1)):
        with CaptureQueriesContext(connection) as queries:
            viewer.get(turn_url(execution, number))
        # Session, user, permissions (4), the row, the time, the workers, open calls, the size of
        # the journal, the journal, came in, asked, and when it was or how many it asked.
        assert len(queries) == 13, [query["sql"] for query in queries]


def test_the_page_of_a_call_leads_to_its_turns(sums, viewer):
    call = Call.objects.get(call_id=1)

    page = viewer.get(url_of(call)).content.decode()

    assert f'<a href="{turn_url(sums, 2)}">2</a>' in page
    assert f'<a href="{turn_url(sums, 3)}">3</a>' in page
    assert "called here" in page
    assert '<mark class="dm-here">double(n)</mark>' in page
    assert f'<a href="{url_of(sums)}?line=4#calls">Calls of line 4</a>' in page


def test_who_may_not_see_the_source_does_not_see_where_it_was_called(sums, staff):
    page = text_of(staff("view_call").get(url_of(Call.objects.get(call_id=1))))

    assert "Timeline:" in page
    assert "called here" not in page

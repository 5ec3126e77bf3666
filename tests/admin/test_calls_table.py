import re

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import F

from durable_monty.models import Call, Execution
from tests.admin.pages import text_of, url_of
from tests.support import run

WIDE = """
from asyncio import gather

await gather(*[double(n) for n in range(250)])
"""


@pytest.fixture
def wide(asked):
    """250 calls, of which 7 and 240 are open."""
    call = asked(WIDE, ["double"])
    calls = Call.objects.exclude(call_id__in=[7, 240])
    calls.update(
        status="completed", result="2", finished_at=F("created_at"), due_at=None, attempt=1
    )
    return call.execution


@pytest.fixture
def numbers(viewer, wide):
    """Which calls a page shows: those from other pages, and its own."""

    def read(query=""):
        table = viewer.get(url_of(wide) + query).context["calls"]
        return [row.number for row in table.elsewhere], [row.number for row in table.rows]

    return read


def test_the_latest_calls_and_what_is_open_elsewhere(numbers):
    assert numbers() == ([7], [*range(200, 250)])


@pytest.mark.parametrize(
    ("query", "elsewhere", "first", "last"),
    [
        ("?calls=1", [240], 0, 99),
        ("?calls=2", [7, 240], 100, 199),
        ("?calls=3", [7], 200, 249),
        ("?calls=99", [7], 200, 249),
        ("?calls=0", [240], 0, 99),
        ("?calls=nonsense", [7], 200, 249),
        ("?calls=-1", [7], 200, 249),
        ("?calls=99999999999999999999", [7], 200, 249),
    ],
)
def test_pages(numbers, query, elsewhere, first, last):
    assert numbers(query) == (elsewhere, [*range(first, last + 1)])


def test_the_pager_leads_to_the_pages(viewer, wide):
    page = viewer.get(f"{url_of(wide)}?calls=2").content.decode()

    pager = page.split('<nav class="dm-pager"')[1].split("</nav>")[0]
    assert re.findall('href="(.*?)"', pager) == [
        f"?calls={number}#calls" for number in (1, 1, 3, 3)
    ]
    assert "101 to 200 of 250" in pager
    assert "Still open, from other pages" in page


def test_large_numbers_are_no_obstacle(viewer, wide, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    Call.objects.filter(call_id=249).update(position_start=0)

    page = viewer.get(f"{url_of(wide)}?calls=2&line=4").content.decode()

    assert "?calls=3&amp;line=4#calls" in page


def test_counts_by_status(viewer, wide):
    assert "2 pending 248 completed" in text_of(viewer.get(url_of(wide)))


def test_a_line_links_to_the_calls_that_it_made(db, viewer):
    execution = run(
        "for n in range(3):\n    await double(n)\nawait approve('it')", ["double", "approve"]
    )
    approve = Call.objects.get(function="approve")

    page = viewer.get(url_of(execution)).content.decode()

    links = re.findall('class="dm-made" href="(.*?)" aria-label="(.*?)"', page)
    assert links == [
        ("?line=2#calls", "3 calls: 3 Completed"),
        (url_of(approve), "1 call: 1 Pending"),
    ]
    response = viewer.get(f"{url_of(execution)}?line=2")
    assert [row.number for row in response.context["calls"].rows] == [0, 1, 2]
    assert "Only calls of line 2 are shown. Show all" in text_of(response)


@pytest.mark.parametrize("line", ["0", "99", "x", "-1"])
def test_no_such_line(db, viewer, line):
    execution = run("await double(1)", ["double"])

    response = viewer.get(f"{url_of(execution)}?line={line}")

    assert len(response.context["calls"].rows) == 1
    assert "Only calls of line" not in text_of(response)


def test_a_line_without_calls(db, viewer):
    execution = run("x = 1\nawait double(x)", ["double"])

    page = text_of(viewer.get(f"{url_of(execution)}?line=1"))

    assert "Only calls of line 1 are shown. Show all" in page


def test_what_people_did(asked, viewer, service, django_user_model):
    call = asked()
    boss = django_user_model.objects.create_user("boss")
    service.complete_call(call.execution_id, 0, True, user=boss, reason="It is cheap.")
    LogEntry.objects.create(
        user=boss,
        content_type_id=_content_type(),
        object_id=str(call.execution_id),
        object_repr="it",
        action_flag=CHANGE,
        change_message="Paused. Reason: lunch",
    )

    response = viewer.get(url_of(call.execution))

    page = text_of(response)
    assert "boss Paused. Reason: lunch -" in page
    assert "boss approve #0 completed by hand It is cheap." in page
    assert [(act.change, act.call) for act, _link in response.context["acts"]] == [
        ("Paused. Reason: lunch", None),
        ("", call),
    ]


def test_an_answer_by_a_script(asked, viewer, service):
    call = asked()
    service.fail_call(call.execution_id, 0, "no", reason="the script said so")

    page = text_of(viewer.get(url_of(call.execution)))

    assert "- approve #0 failed by hand the script said so" in page


def test_the_reason_of_a_cancellation(asked, viewer, service):
    call = asked()
    service.cancel_execution(call.execution_id, reason="The bank is closed.")

    assert "The bank is closed." in text_of(viewer.get(url_of(call.execution)))


def _content_type():
    from django.contrib.contenttypes.models import ContentType

    return ContentType.objects.get_for_model(Execution).pk

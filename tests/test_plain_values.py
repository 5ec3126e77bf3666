"""People never read the codec's tags."""

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from io import StringIO
from math import nan
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.urls import reverse

from durable_monty import codec
from durable_monty.exceptions import ReplayMismatch
from durable_monty.models import Call
from tests.admin.pages import url_of
from tests.support import run

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, "x", None, True, 1.5]}, {"a": [1, "x", None, True, 1.5]}),
        (Decimal("543.00"), "543.00"),
        (2**70, 2**70),
        (nan, "nan"),
        (1 + 2j, "(1+2j)"),
        (b"xy", "eHk="),
        ((1, {2}, frozenset({"x"})), [1, [2], ["x"]]),
        ({1: "one", (2, 3): "two"}, {"1": "one", "[2, 3]": "two"}),
        ({1: "one", "1": "two"}, [[1, "one"], ["1", "two"]]),
        ({"$decimal": 1}, {"$decimal": 1}),
        ({"$other": 1}, {"$other": 1}),
        (codec.Record("Order", {"total": Decimal(5)}), {"total": "5"}),
        (codec.record_of("Order", {"total": Decimal(5)}), {"total": "5"}),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
        (datetime(2026, 1, 31, 12, tzinfo=BERLIN), "2026-01-31T12:00:00+01:00 Europe/Berlin"),
        (time(12, fold=1), "12:00:00"),
        (timedelta(days=1, hours=2), "1 day, 2:00:00"),
        (timezone(timedelta(hours=-5)), "UTC-5:00:00"),
        (timezone(timedelta(hours=1), "CET"), "CET"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("a/b"), "a/b"),
        (BERLIN, "Europe/Berlin"),
    ],
)
def test_plain(value, shown):
    assert codec.plain(codec.encode(value)) == shown


@pytest.mark.parametrize("text", ['{"$record":[1]}', '{"$timedelta":"x"}', '{"$int":"x"}'])
def test_a_damaged_tag_is_shown_as_it_is(text):
    assert codec.plain(text) == json.loads(text)


def test_of_what_was_cut_as_much_as_can_be():
    text = codec.encode([Decimal("543.00"), 'a "quoted" one', date(2026, 1, 31)])

    assert codec.plain_beginning(text[:-1]) == '["543.00","a \\"quoted\\" one","2026-01-31"'


VALUES = {
    "total": Decimal("543.00"),
    "when": datetime(2026, 1, 31, 12, tzinfo=BERLIN),
    "pair": (1, {"x"}),
    "order": uuid.UUID(int=1),
}


@pytest.mark.django_db
def test_no_page_shows_a_tag(admin_client):
    code = (
        "answer = await echo(total, when, pair)\nawait approve(answer)\n[total, when, pair, order]"
    )
    execution = run(code, ["echo", "approve"], VALUES, name="plain")
    echo, approve = Call.objects.order_by("call_id")
    named = "admin:durable_monty_execution_"

    pages = [
        url_of(execution),
        url_of(echo),
        url_of(approve),
        reverse(f"{named}turn", args=[execution.pk, 1]),
        reverse(f"{named}turn", args=[execution.pk, 2]),
        reverse(f"{named}fork", args=[execution.pk]) + "?turn=2",
        reverse("admin:app_list", args=["durable_monty"]),
        reverse("admin:durable_monty_execution_changelist"),
        reverse("admin:durable_monty_call_changelist"),
    ]

    for url in pages:
        page = admin_client.get(url)
        assert page.status_code == 200, url
        text = page.content.decode()
        for tag in ("$decimal", "$datetime", "$tuple", "$set", "$uuid"):
            assert tag not in text, url
    assert "543.00" in admin_client.get(url_of(echo)).content.decode()

    out = StringIO()
    call_command("durable_doctor", str(execution.pk), stdout=out)
    assert "$" not in out.getvalue()


@pytest.mark.django_db
def test_a_mismatch_tells_values_and_not_tags(service):
    code = "await echo(total)\nawait approve('it')"
    execution = run(code, ["echo", "approve"], VALUES)

    with pytest.raises(ReplayMismatch) as caught:
        service.fork_execution(execution.pk, 2, code=code.replace("total", "total + 1"))

    assert str(caught.value) == (
        "Replay differs from the journal at turn 1, call 0: recorded echo [Decimal('543.00')] {}, "
        "replayed echo [Decimal('544.00')] {}."
    )

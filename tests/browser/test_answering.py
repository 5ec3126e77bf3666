import re

import pytest
from django.contrib.admin.models import LogEntry

from durable_monty.models import Call, Execution
from tests.support import run, work

REVIEW = """
approved = await approve(package)
print("approved" if approved else "rejected")
approved
"""


@pytest.fixture
def reviews(live_server):
    return [
        run(REVIEW, ["approve"], {"package": f"package-{number}.zip"}, name=f"review-{number}")
        for number in (1, 2)
    ]


def test_a_person_answers_what_has_waited_longest(logged_in, expect, reviews):
    page = logged_in
    page.get_by_role("link", name="Durable workflows").first.click()
    waiting = page.get_by_role("region", name="Waiting for a person")
    expect(waiting.get_by_role("row")).to_have_count(3)  # with the heading
    waiting.get_by_role("link", name="All, oldest first").click()
    page.locator("#result_list tbody tr").nth(0).get_by_role("link", name="approve #0").click()

    content = page.locator("#content")
    expect(content).to_contain_text("package-1.zip")
    page.get_by_label("Yes").check()
    page.get_by_label("Reason").fill("It plays well.")
    page.get_by_role("button", name="Submit answer").click()

    expect(page.locator(".messagelist")).to_contain_text("was recorded")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator(".messagelist").get_by_role("link", name="approve #0").click()
    expect(content).to_contain_text("It plays well.")
    expect(content.locator(".dm-completed")).to_have_text("Completed")
    expect(page.get_by_role("button", name="Submit answer")).to_have_count(0)

    work()
    page.get_by_role("link", name="review-1").click()
    expect(content).to_contain_text(re.compile("Completed .*, after "))
    expect(content).to_contain_text("approved")
    statuses = [Execution.objects.get(pk=review.pk).status for review in reviews]
    assert statuses == ["completed", "waiting"]


def test_only_the_chosen_kind_of_answer_is_asked_for(logged_in, expect, reviews):
    page = logged_in
    page.goto(f"/admin/durable_monty/call/{Call.objects.first().pk}/change/")
    error, result = page.get_by_label("Error message"), page.get_by_label("Yes")
    expect(result).to_be_visible()
    expect(error).to_be_hidden()

    page.get_by_label("Fail this call").check()
    expect(result).to_be_hidden()
    expect(error).to_be_visible()
    page.get_by_role("button", name="Submit answer").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    expect(page.get_by_label("Error message")).to_be_visible()


def test_a_double_click_answers_once(logged_in, expect, reviews):
    page = logged_in
    page.goto(f"/admin/durable_monty/call/{Call.objects.first().pk}/change/")
    page.get_by_label("No", exact=True).check()
    page.get_by_role("button", name="Submit answer").dblclick()

    # The browser may have dropped the first of the two responses, with its message.
    said = re.compile("was recorded|was already answered just now, by clerk")
    expect(page.locator(".messagelist")).to_contain_text(said)
    assert LogEntry.objects.count() == 1
    assert [call.result for call in Call.objects.order_by("-pk")] == ["false", None]

import re

import pytest
from django.contrib.auth.models import Permission

from durable_monty.models import Call, Execution
from tests.support import run, work

REVIEW = """
approved = await approve(package)
print("approved" if approved else "rejected")
for step in range(3):
    await double(step)
approved
"""


# Milliseconds: the shortest time between two polls, and far more than the longest.
SOON, LATER = 2_000, 120_000


@pytest.fixture
def review(live_server):
    return run(REVIEW, ["approve", "double"], {"package": "package-1.zip"}, name="review")


@pytest.fixture
def viewing(page, live_server, django_user_model):
    user = django_user_model.objects.create_user("viewer", password="secret", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="durable_monty", codename__startswith="view_"
        )
    )
    page.goto("/admin/")
    page.get_by_label("Username").fill("viewer")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("Site administration").wait_for()
    page.clock.install()  # its timers run when a test says so
    return page


@pytest.fixture
def polls(viewing):
    """The requests that the page sends by itself."""
    urls = []
    viewing.on("request", lambda request: note(request.url, urls))
    return urls


def note(url, urls):
    if "/live/" in url:
        urls.append(url)


def page_of(execution):
    return f"/admin/durable_monty/execution/{execution.pk}/change/"


def test_the_page_follows_the_execution_and_stops_with_it(viewing, expect, review, service, polls):
    viewing.goto(page_of(review))
    sentence = viewing.locator("#dm-live .dm-sentence")
    expect(sentence).to_contain_text("approve (a person)")
    expect(viewing.locator(".dm-line-here")).to_contain_text("approved = await approve(package)")
    engine = viewing.locator("summary", has_text="Engine")
    engine.click()

    service.complete_call(review.pk, 0, True)
    work()
    viewing.clock.run_for(SOON)

    expect(sentence).to_contain_text("Completed")
    expect(viewing.locator("table.dm-calls tbody tr")).to_have_count(4)
    expect(viewing.locator(".dm-line-here")).to_have_count(0)
    expect(viewing.locator(".field-log_block")).to_contain_text("approved")
    expect(viewing.get_by_role("button", name="Pause updates")).to_have_count(0)
    assert len(polls) == 1
    viewing.clock.run_for(LATER)
    assert len(polls) == 1


def test_focus_and_what_is_open_outlive_an_update(viewing, expect, review):
    viewing.goto(page_of(review))
    link = viewing.get_by_role("link", name="approve", exact=True)
    link.focus()
    Call.objects.update(args='["another"]')
    viewing.clock.run_for(SOON)
    expect(viewing.locator("table.dm-calls")).to_contain_text("another")
    expect(link).to_be_focused()

    engine = viewing.locator("summary", has_text="Engine")
    engine.click()
    expect(engine).to_be_focused()
    Execution.objects.update(wakeups=77)
    viewing.clock.run_for(SOON)
    expect(viewing.locator("details")).to_contain_text("77")
    expect(viewing.locator("details")).to_have_attribute("open", "")
    expect(engine).to_be_focused()


def test_updates_can_be_paused(viewing, expect, review, service, polls):
    viewing.goto(page_of(review))
    viewing.get_by_role("button", name="Pause updates").click()
    service.complete_call(review.pk, 0, True)
    work()
    viewing.clock.run_for(LATER)
    assert polls == []

    viewing.get_by_role("button", name="Resume updates").click()
    viewing.clock.run_for(SOON)
    expect(viewing.locator("#dm-live .dm-sentence")).to_contain_text("Completed")


def test_who_is_logged_out_is_told(viewing, expect, review):
    viewing.goto(page_of(review))
    viewing.context.clear_cookies()
    viewing.clock.run_for(SOON)

    expect(viewing.get_by_text("Updates stopped: reload the page.")).to_be_visible()


def test_a_hidden_page_asks_for_nothing(viewing, expect, review, polls):
    viewing.goto(page_of(review))
    viewing.evaluate(
        "Object.defineProperty(document, 'visibilityState', {value: 'hidden', writable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    viewing.clock.run_for(LATER)
    assert polls == []

    with viewing.expect_response(re.compile("/live/")):
        viewing.evaluate(
            "document.visibilityState = 'visible';"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        viewing.clock.run_for(1)


def test_turns_by_keyboard(viewing, expect, review, service):
    service.complete_call(review.pk, 0, True)
    work()
    assert Execution.objects.get().turn == 5
    viewing.goto(page_of(review))
    viewing.get_by_role("link", name="Step through turns (5)").click()
    expect(viewing.get_by_role("heading", name="Turn 5 of 5")).to_be_visible()

    for turn in (4, 3, 2):
        viewing.keyboard.press("ArrowLeft")
        expect(viewing.get_by_role("heading", name=f"Turn {turn} of 5")).to_be_visible()
        expect(viewing.locator("#dm-steps")).to_be_focused()
    expect(viewing.locator(".dm-line-here")).to_contain_text("await double(step)")
    expect(viewing.get_by_role("region", name="Output printed")).to_contain_text("approved")
    viewing.keyboard.press("ArrowRight")
    expect(viewing.get_by_role("heading", name="Turn 3 of 5")).to_be_visible()

    viewing.get_by_label("Turn", exact=True).fill("1")
    viewing.keyboard.press("Enter")
    expect(viewing.get_by_role("heading", name="Turn 1 of 5")).to_be_visible()
    came_in = viewing.get_by_role("region", name="Results received")
    expect(came_in).to_contain_text("the first turn begins with the inputs")
    viewing.get_by_role("region", name="Calls started").get_by_role("link", name="2").click()
    expect(viewing.get_by_role("heading", name="Turn 2 of 5")).to_be_visible()


def test_the_paused_line_of_a_long_source_is_in_sight(viewing, expect, live_server, service):
    filler = "\n" * 200
    source = f"{filler}await approve(1){filler}await approve(2){filler}"
    execution = run(source, ["approve"])
    viewing.goto(page_of(execution))

    here = viewing.locator(".dm-line-here")
    expect(here).to_contain_text("await approve(1)")
    assert is_in_sight(here)

    service.complete_call(execution.pk, 0, True)
    work()
    viewing.clock.run_for(SOON)
    expect(here).to_contain_text("await approve(2)")
    assert is_in_sight(here)


def is_in_sight(line):
    """Within the pane of the source."""
    return line.evaluate(
        """line => {
            const pane = line.closest("ol");
            const top = line.offsetTop - pane.scrollTop;
            return top >= 0 && top < pane.clientHeight;
        }"""
    )

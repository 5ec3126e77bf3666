import re

import pytest

from durable_monty.models import Call, Execution
from tests.processes import completed, runworker, until
from tests.support import run

SOURCE = """price = await double(amount)
if await approve(f"{price} euros"):
    print("approved")
price
"""


def test_a_newcomer_starts_answers_and_finishes_a_workflow(logged_in, expect, tmp_path):
    page = logged_in
    page.get_by_role("link", name="Durable workflows").first.click()
    page.get_by_role("link", name="Executions").first.click()
    page.get_by_role("link", name="Start a workflow").click()
    page.get_by_label("Source").fill(SOURCE)
    page.get_by_label("Inputs").fill('{"amount": 21}')
    page.get_by_label("Name").fill("purchase")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".errorlist").first).to_contain_text(
        "Line 1, column 15: 'double' is not a function that this workflow may call"
    )
    expect(page.get_by_label("Source")).to_have_value(SOURCE)

    page.get_by_role("checkbox", name="double(x)", exact=True).check()
    page.get_by_role("checkbox", name="approve(what: str)").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".messagelist")).to_contain_text("was started.")
    execution = Execution.objects.get()

    with runworker(tmp_path, "--executor", "local") as worker:
        worker.until(Call.objects.waiting_for_people().exists, "a person is asked")
        page.get_by_role("link", name="Durable workflows").first.click()
        page.get_by_role("link", name="approve #1").click()
        expect(page.locator("#content")).to_contain_text("42 euros")
        page.get_by_label("Yes").check()
        page.get_by_role("button", name="Submit answer").click()
        expect(page.locator(".messagelist")).to_contain_text("was recorded")
        worker.until(lambda: completed(execution.pk), "it was completed")

    page.get_by_role("link", name=re.compile("^purchase")).click()
    expect(page.locator("#content")).to_contain_text("Completed")
    expect(page.locator("#content")).to_contain_text("approved")
    execution.refresh_from_db()
    assert execution.output == "42"


def test_the_source_editor_with_the_keyboard_alone(logged_in, expect):
    page = logged_in
    page.goto("/admin/durable_monty/execution/add/")
    source = page.get_by_label("Source")
    source.focus()

    page.keyboard.type("if x:\ny\nz")
    expect(source).to_have_value("if x:\n    y\n    z")
    page.keyboard.press("Shift+Tab")
    expect(source).to_have_value("if x:\n    y\nz")
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    expect(source).to_have_value("if x:\n    y\n    z")
    page.keyboard.press("Control+a")
    page.keyboard.press("Tab")
    expect(source).to_have_value("    if x:\n        y\n        z")
    page.keyboard.press("Control+z")
    expect(source).to_have_value("if x:\n    y\n    z")
    expect(page.locator(".dm-gutter")).to_have_text("1\n2\n3")

    expect(source).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(source).not_to_be_focused()


def test_a_double_click_starts_once(logged_in, expect):
    page = logged_in
    page.goto("/admin/durable_monty/execution/add/")
    page.get_by_label("Source").fill("1")
    page.get_by_role("button", name="Start").dblclick()

    expect(page.locator(".messagelist")).to_contain_text("started")
    assert Execution.objects.count() == 1


def test_a_fork_shows_only_what_is_chosen(logged_in, expect, service):
    page = logged_in
    execution = run("await approve('it')", ["approve"], name="purchase")
    page.goto(f"/admin/durable_monty/execution/{execution.pk}/change/")
    page.get_by_role("link", name="Fork…").click()
    result, error = page.get_by_label("Result:"), page.get_by_label("Error message")
    expect(result).to_be_hidden()
    expect(error).to_be_hidden()
    page.get_by_label("An error").check()
    expect(error).to_be_visible()
    page.get_by_label("Use another result").check()
    expect(error).to_be_hidden()
    result.fill("true")
    page.get_by_role("button", name="Fork", exact=True).click()

    expect(page.locator(".messagelist")).to_contain_text("Forked. The new execution is purchase")
    assert Call.objects.get(execution__forked_from=execution).result == "true"


@pytest.mark.parametrize("name", ["Pause…", "Cancel…", "Terminate…", "Restart…"])
def test_verbs_are_confirmed(logged_in, expect, service, name):
    page = logged_in
    execution = run("await approve('it')", ["approve"], name="purchase")
    page.goto(f"/admin/durable_monty/execution/{execution.pk}/change/")
    page.get_by_role("link", name=name).click()
    page.get_by_label("Reason").fill("because")
    page.get_by_role("button", name=name.rstrip("…")).click()

    expect(page.locator(".messagelist")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.locator("#change-history")).to_contain_text("Reason: because")


def test_resume_is_one_click(logged_in, expect, service):
    page = logged_in
    execution = run("await approve('it')", ["approve"])
    service.pause_execution(execution.pk)
    page.goto(f"/admin/durable_monty/execution/{execution.pk}/change/")

    page.get_by_role("button", name="Resume").click()

    expect(page.locator(".messagelist")).to_contain_text("Resumed.")
    until(lambda: Execution.objects.get().status == "waiting", "it was resumed")

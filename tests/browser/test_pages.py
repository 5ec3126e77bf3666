"""What holds on every page: the fixture `page` asserts that no policy is violated."""

import pytest
from django.contrib.auth.models import Permission

from tests.browser.conftest import missing
from tests.browser.pages import DASHBOARD, addresses, fill, forms, log_in

SCHEMES = ["light", "dark"]
# Django's own search box, whose label is a picture.
STOCK = ("label-title-only", 'id="searchbar"')


@pytest.fixture
def stored(live_server, service):
    return fill(service)


@pytest.fixture
def user_with(stored, django_user_model):
    def make(**wanted):
        user = django_user_model.objects.create_user("someone", is_staff=True)
        ours = Permission.objects.filter(content_type__app_label="durable_monty")
        user.user_permissions.set(ours.filter(**wanted))
        return user

    return make


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_load_under_a_strict_policy(page, live_server, stored, user_with, scheme):
    page.emulate_media(color_scheme=scheme)
    log_in(page, user_with(), live_server.url)

    for address in (*addresses(), *forms(stored)):
        response = page.goto(address)
        assert response.status == 200, address
        assert "default-src 'self'" in response.headers["content-security-policy"]


def test_who_may_only_view_is_offered_no_change(page, client, live_server, stored, user_with):
    viewer = user_with(codename__startswith="view_")
    log_in(page, viewer, live_server.url)

    for address in addresses():
        assert page.goto(address).status == 200, address
        offered = page.locator(
            "#content form[method=post] :is(button:not([type=button]), input:not([type=hidden]))"
        )
        assert [each.get_attribute("name") for each in offered.all()] == [], address
    client.force_login(viewer)
    assert {client.get(address).status_code for address in forms(stored)} == {403}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_are_accessible(browser, live_server, stored, user_with, scheme):
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python (uv sync --group browser)")
    # In a context of its own: axe injects styles, which the policy forbids.
    context = browser.new_context(base_url=live_server.url, bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    log_in(page, user_with(), live_server.url)

    found = []
    for address in (*addresses(), *forms(stored)):
        page.goto(address)
        results = Axe().run(page, {"include": [["#content"]]})
        found += [
            (address, violation["id"], node["html"][:200])
            for violation in results.response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
            if not (violation["id"] == STOCK[0] and STOCK[1] in node["html"])
        ]
    context.close()
    assert found == []


def test_the_dashboard_is_live_for_a_while(page, expect, live_server, user_with, service):
    log_in(page, user_with(), live_server.url)
    page.clock.install()
    page.goto(DASHBOARD)
    executions = page.get_by_role("region", name="Executions")
    expect(executions).to_contain_text("1 Scheduled")
    expect(page.get_by_role("status")).to_have_text("Live")

    service.start_execution("2", [])
    page.clock.run_for(11_000)
    expect(executions).to_contain_text("2 Scheduled")

    page.clock.fast_forward(16 * 60_000)
    expect(page.get_by_role("status")).to_contain_text("Updates stopped")
    service.start_execution("3", [])
    page.get_by_role("button", name="Resume").click()
    expect(executions).to_contain_text("3 Scheduled")
    expect(page.get_by_role("status")).to_have_text("Live")


def test_what_somebody_reads_is_not_replaced(page, expect, live_server, user_with, service):
    log_in(page, user_with(), live_server.url)
    page.clock.install()
    page.goto(DASHBOARD)
    page.get_by_text("As a table").click()
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    page.clock.run_for(60_000)

    assert page.evaluate("document.querySelector('details').open")
    assert asked == []

import os
import shutil

import pytest
from django.contrib.auth.models import Permission
from django.db import connections


@pytest.fixture
def playwright(live_server, monkeypatch):
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright (uv sync --group browser)")
    # Its event loop runs in this thread, where Django would refuse queries. Not for the session:
    # then the tests in between would run under it too.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        yield playwright
        # Under a loop Django has other connections, which nothing closes.
        connections.close_all()


@pytest.fixture
def expect(playwright):
    from playwright.sync_api import expect

    return expect


@pytest.fixture
def browser(playwright):
    executable = shutil.which("chromium") or missing("chromium")
    browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def page(browser, live_server):
    """A page of a browser that must have no complaints at the end, of the policy among them."""
    complaints = []
    context = browser.new_context(base_url=live_server.url)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: note(message, complaints))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def logged_in(page, live_server, django_user_model):
    user = django_user_model.objects.create_user("clerk", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="durable_monty"))
    page.goto("/admin/")
    page.get_by_label("Username").fill("clerk")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("Site administration").wait_for()
    return page


def missing(what):
    """A developer may have no browser; CI has one."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed.")
    pytest.skip(f"{what} is not installed.")


def note(message, complaints):
    if message.type in ("error", "warning") and "/favicon.ico" not in message.location["url"]:
        complaints.append(message.text)

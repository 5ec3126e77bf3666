"""Makes the screenshots of the README anew: python -m tests.screenshots

It needs the group `browser` and Chromium, runs the workflows of `story.py` in a database that it
throws away, and writes `example_project/screenshots/*.webp`.
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django

FOLDER = Path(__file__).resolve().parents[2] / "example_project" / "screenshots"
WIDTH, HEIGHT = 1280, 960
_QUALITY = 0.8

# Draws a PNG on a canvas, which knows how to write WebP.
_AS_WEBP = """async ([png, quality]) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/screenshots.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from tests.screenshots.story import tell

        tell()
        take(serve())


def pages() -> dict[str, tuple[str, str]]:
    """Name of the file -> address, colour scheme. New pages join here."""
    from durable_monty.models import Call, Execution
    from tests.admin.pages import list_url, url_of

    asked = Call.objects.waiting_for_people().earliest("created_at")
    return {
        "dashboard": ("/admin/durable_monty/", "light"),
        "dashboard-dark": ("/admin/durable_monty/", "dark"),
        "executions": (list_url(Execution), "light"),
        "execution": (url_of(asked.execution), "light"),
        "complete-call": (url_of(asked), "light"),
    }


def serve() -> str:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.test.testcases import LiveServerThread

    thread = LiveServerThread("localhost", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    return f"http://localhost:{thread.port}"


def take(origin: str) -> None:
    from django.contrib.auth import get_user_model
    from playwright.sync_api import sync_playwright

    from tests.browser.pages import log_in
    from tests.screenshots.story import beat

    user = get_user_model().objects.create_superuser("clerk")
    shots = pages()
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in this thread
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page: Any = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        blank: Any = browser.new_page()
        log_in(page, user, origin)
        FOLDER.mkdir(exist_ok=True)
        for name, (address, scheme) in shots.items():
            beat()
            page.emulate_media(color_scheme=scheme)
            page.goto(origin + address)
            png = base64.b64encode(page.screenshot()).decode()
            webp = base64.b64decode(blank.evaluate(_AS_WEBP, [png, _QUALITY]))
            path = FOLDER / f"{name}.webp"
            path.write_bytes(webp)
            print(f"{len(webp) / 1024:6.1f} KB  {path.name}")
        browser.close()


if __name__ == "__main__":
    main()

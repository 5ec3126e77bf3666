"""With django-unfold, in a process of its own: its settings are for the whole process."""

import os
import subprocess
import sys
from importlib.util import find_spec

from tests.browser.conftest import missing
from tests.documents import ROOT


def test_pages_load_and_forms_work_under_unfold(tmp_path):
    if find_spec("unfold") is None:
        missing("django-unfold (uv sync --group browser)")
    env = {**os.environ, "TEST_DATABASE_FILE": str(tmp_path / "unfold.sqlite3")}
    env.pop("DATABASE_URL", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
         # On Django 6.1, of unfold's own method.
         "-W", "ignore:Overriding get_action_choices",
         "--ds=tests.under_unfold.settings", "tests/under_unfold/check_pages.py"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout

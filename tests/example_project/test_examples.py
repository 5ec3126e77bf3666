"""The examples, as a newcomer runs them: each ends by itself and prints its result."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "example_project" / "examples"
RESULTS = {
    "simple": "result: 29",
    "with_worker": "result: 55",
    "with_rq": "result: 55",
    "with_webhook": "result: order 1047: paid 80 by card",
    "poll_all": f"result: {[n * n + n**4 for n in range(1, 11)]}",
}
REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def has_redis():
    if importlib.util.find_spec("rq") is None:
        return False
    with socket.socket() as probe:
        found = urlsplit(REDIS)
        return probe.connect_ex((found.hostname, found.port or 6379)) == 0


def run(tmp_path, *command):
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**kept, "DATABASE_URL": f"sqlite:///{tmp_path}/examples.sqlite3"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_example_is_run():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__", "functions"}
    assert scripts == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_an_example(name, tmp_path):
    if name == "with_rq" and not has_redis():
        pytest.skip("it needs the extra rq and a Redis")
    # One of them as a module, which is the other way to run each.
    command = ["-m", f"example_project.examples.{name}"]
    if name != "with_webhook":
        command = [f"example_project/examples/{name}.py"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == RESULTS[name]
    assert "Traceback" not in done.stderr
    if name == "with_webhook":
        assert done.stdout.splitlines()[:-1] == [
            "first answer: {'status': 'recorded', 'already': False}",
            "sent again: {'status': 'recorded', 'already': True}",
        ]

import logging
import runpy
from pathlib import Path

import pytest

from example_project import settings as example_settings
from example_project.logs import FactsFormatter

SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
    "PRAGMA cache_size=-20000;",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}


@pytest.fixture
def loaded(monkeypatch):
    """Runs the settings file under an environment that holds nothing but what is given."""

    def load(**environment):
        for name in ("DATABASE_URL", "DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "MEDIA_ROOT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(example_settings.__file__)

    return load


def test_sqlite_is_the_default(loaded):
    root = Path(__file__).resolve().parents[2]

    assert (
        loaded()["DATABASES"]
        == loaded(DATABASE_URL="")["DATABASES"]
        == {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": root / "db.sqlite3",
                "CONN_MAX_AGE": None,
                "OPTIONS": SQLITE_OPTIONS,
            }
        }
    )
    assert loaded()["MEDIA_ROOT"] == root / "example_project" / "media"


def test_another_sqlite_file_has_the_same_options(loaded):
    database = loaded(DATABASE_URL="sqlite:////srv/some where/db.sqlite3?timeout=5")["DATABASES"]

    assert database["default"]["NAME"] == "/srv/some where/db.sqlite3"
    assert database["default"]["CONN_MAX_AGE"] is None
    assert database["default"]["OPTIONS"] == SQLITE_OPTIONS | {"timeout": 5}


def test_postgresql(loaded):
    database = loaded(DATABASE_URL="postgres://user:secret@host:5433/name")["DATABASES"]["default"]

    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["USER"], database["PASSWORD"]) == ("user", "secret")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("host", 5433, "name")
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"]) == (600, True)
    assert "OPTIONS" not in database


@pytest.mark.parametrize(
    ("value", "debug"),
    [("True", True), ("1", True), ("False", False), ("false", False), ("0", False), ("", False)],
)
def test_debug(loaded, value, debug):
    assert loaded(DEBUG=value)["DEBUG"] is debug
    assert loaded()["DEBUG"] is True


def test_what_the_environment_sets(loaded, tmp_path):
    values = loaded(
        SECRET_KEY="key", ALLOWED_HOSTS="a.example,b.example", MEDIA_ROOT=str(tmp_path)
    )

    assert values["SECRET_KEY"] == "key"
    assert values["ALLOWED_HOSTS"] == ["a.example", "b.example"]
    assert values["MEDIA_ROOT"] == tmp_path


def test_a_function_is_stopped_before_its_task_comes_again(loaded):
    assert loaded()["Q_CLUSTER"]["timeout"] < loaded()["Q_CLUSTER"]["retry"]


def test_the_first_page_leads_to_the_admin(client):
    assert client.get("/").headers["Location"] == "/admin/"


def test_log_lines_show_the_facts():
    record = logging.makeLogRecord(
        {"msg": "Execution completed", "levelname": "INFO", "execution": "0190", "turn": 3}
    )

    line = FactsFormatter("{levelname:<7} {message}", style="{").format(record)

    assert line == "INFO    Execution completed execution=0190 turn=3"

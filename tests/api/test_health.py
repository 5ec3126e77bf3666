"""What load balancers and deployments ask."""

import os
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from durable_monty.api import health
from durable_monty.exceptions import DatabaseNotMigrated
from durable_monty.operations import register_worker
from tests.api.conftest import Api, error_of
from tests.documents import ROOT


@pytest.fixture
def anybody(monkeypatch):
    monkeypatch.setattr(health, "_migrated", set())
    return Api(Client())


def test_health_asks_no_database(anybody):
    # Not marked with django_db: a query would raise.
    response = anybody.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_needs_a_worker(anybody, move_clock):
    response = anybody.get("/ready")
    assert (response.status_code, error_of(response)["code"]) == (503, "no_worker_alive")
    assert anybody.get("/ready", workers="false").json() == {"status": "ready", "workers": 0}
    register_worker("local", [], using="default")
    assert anybody.get("/ready").json() == {"status": "ready", "workers": 1}
    move_clock(16)
    assert anybody.get("/ready").status_code == 503


@pytest.mark.django_db
def test_ready_needs_the_migrations(anybody, monkeypatch):
    def missing(using):
        raise DatabaseNotMigrated(using, ["durable_monty.0001_initial"])

    with monkeypatch.context() as context:
        context.setattr(health, "check_migrated", missing)
        response = anybody.get("/ready", workers="false")
        assert (response.status_code, error_of(response)["code"]) == (
            503,
            "database_not_migrated",
        )
    assert anybody.get("/ready", workers="false").status_code == 200


@pytest.mark.django_db
def test_ready_looks_at_migrations_once(anybody, monkeypatch, django_assert_num_queries):
    anybody.get("/ready", workers="false")
    with django_assert_num_queries(2):
        anybody.get("/ready", workers="false")


ASKED_WITHOUT_A_DATABASE = """
import django
django.setup()
from django.conf import settings
from django.test import Client
settings.ROOT_URLCONF = "tests.api.urls"
settings.ALLOWED_HOSTS = ["testserver"]
client = Client(headers={"Authorization": "Bearer dmk_any"})
for path in ("health", "ready", "executions"):
    response = client.get(f"/api/{path}")
    print(response.status_code, response.json().get("error", {}).get("code"))
"""


def test_without_a_database_it_still_answers(tmp_path):
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/no/such/folder/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKED_WITHOUT_A_DATABASE],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "200 None",
        "503 database_unavailable",
        "503 database_unavailable",
    ], done.stderr


# --- under ASGI ---


@pytest.mark.django_db(transaction=True)
def test_an_export_under_asgi_is_streamed(with_key, asked):
    execution = asked()
    api = with_key("read")
    seen = []

    async def export():
        client = AsyncClient()
        response = await client.get(f"/api/executions/{execution.pk}/export", headers=api.headers)
        assert response.is_async
        seen.extend([piece async for piece in response.streaming_content])

    async_to_sync(export)()
    assert len(seen) > 3
    assert str(execution.pk).encode() in b"".join(seen)

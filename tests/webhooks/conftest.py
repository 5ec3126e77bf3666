"""Calls that wait for an answer, and a client that posts one."""

import json

import pytest
from django.core.cache import cache
from django.test import Client

from durable_monty import OrchestratorService, operations
from durable_monty.models import Call
from tests.support import advance

SECRET = "the secret of the executor rq"
OTHER_SECRET = "the secret of the executor http"


@pytest.fixture(autouse=True)
def _project(settings, durable_settings):
    settings.ROOT_URLCONF = "tests.webhooks.urls"
    durable_settings(
        EXECUTORS={
            "rq": {"webhook_secret": SECRET},
            "http": {"webhook_secret": [OTHER_SECRET]},
        }
    )
    cache.clear()


class Poster:
    def __init__(self, client):
        self.client = client

    def __call__(self, url, body=None, *, content_type="application/json", **headers):
        """(status, document)"""
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        response = self.client.post(url, data, content_type=content_type, headers=headers)
        self.response = response
        return response.status_code, response.json()

    def refusal(self, *arguments, **options):
        """(status, code, path)"""
        status, document = self(*arguments, **options)
        assert document["error"]["message"], document
        return status, document["error"]["code"], document["error"].get("path")

    def complete(self, body, secret=SECRET, **headers):
        headers = {"Authorization": f"Bearer {secret}", **headers} if secret else headers
        return self("/durable/webhook/complete", body, **headers)

    def complete_refused(self, body, secret=SECRET, **headers):
        status, document = self.complete(body, secret, **headers)
        return status, document["error"]["code"], document["error"].get("path")


@pytest.fixture
def post():
    # What a browser's form could not do, this client cannot either.
    return Poster(Client(enforce_csrf_checks=True))


@pytest.fixture
def make_call(register):
    """A call whose attempt was started under a claim, in an execution that tells how it ended."""

    def make(function="hooked", executor="rq", **policy):
        register(function, lambda x=1: x, executor=executor, **policy)
        execution_id = OrchestratorService().start_execution(
            f"""
try:
    told = await {function}(1)
except Exception as exc:
    told = f"{{type(exc).__name__}}: {{exc}}"
told
""",
            [function],
        )
        advance(execution_id)
        return begin(Call.objects.get(execution=execution_id))

    return make


def begin(call):
    """Starts the next attempt of a call that is due."""
    if call.executor != "manual":
        (claimed,) = operations.claim_calls([call.function], [call.executor], 1, using="default")
        operations.start_attempts([claimed], using="default")
    call.refresh_from_db()
    return call


def output(call):
    advance(call.execution_id)
    return OrchestratorService().get_result(call.execution_id)

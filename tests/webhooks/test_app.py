"""`create_app`: served by uvicorn, and spoken to as a server does."""

import json

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.db import connections

import durable_monty
from durable_monty import OrchestratorService, create_app
from durable_monty.operations.job_answers import job_id_of
from durable_monty.webhooks import call_url
from tests.webhooks import load
from tests.webhooks.conftest import SECRET, output

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_in_root(settings):
    settings.ROOT_URLCONF = "tests.webhooks.no_urls"
    settings.ALLOWED_HOSTS = ["testserver"]


@pytest.fixture
def app():
    made = create_app(OrchestratorService())
    yield made
    made._threads.submit(connections.close_all).result()
    made._threads.shutdown()


def send(app, path, *chunks, method="POST", headers=None, host="testserver"):
    """(status, headers, body, how many chunks were taken)"""
    given = {"host": host, "content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path,
        "query_string": b"", "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }  # fmt: skip

    async def talk():
        communicator = ApplicationCommunicator(app, scope)
        for number, chunk in enumerate(chunks or (b"",), 1):
            message = {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
            await communicator.send_input(message)
        start = await communicator.receive_output(20)
        body = await communicator.receive_output(20)
        left = communicator.input_queue.qsize()
        await communicator.wait()
        found = {k.decode().lower(): v.decode() for k, v in start["headers"]}
        return start["status"], found, body["body"], len(chunks) - left

    return async_to_sync(talk)()


def path_of(call):
    url = call_url(call, base_url="https://hooks.example.com")
    # Where the project's URLs have none, it is that of the application.
    assert url.startswith("https://hooks.example.com/call/")
    return url.removeprefix("https://hooks.example.com")


def test_it_is_exported():
    assert durable_monty.create_app is create_app


def test_an_answer(app, make_call):
    call = make_call()
    status, headers, body, _taken = send(app, path_of(call), b'{"res', b'ult": 5}')
    assert (status, json.loads(body)) == (200, {"status": "recorded", "already": False})
    assert headers["content-type"] == "application/json"
    # The middleware of the project.
    assert headers["x-content-type-options"] == "nosniff"
    assert output(call) == 5


def test_the_form_with_a_secret(app, make_call):
    call = make_call()
    body = json.dumps({"job_id": job_id_of(call), "result": 5, "status": "finished"}).encode()
    authorization = {"authorization": f"Bearer {SECRET}"}
    assert send(app, "/webhook/complete", body)[0] == 401
    assert send(app, "/webhook/complete", body, headers=authorization)[0] == 200
    assert output(call) == 5


def test_nothing_else_is_there(app):
    assert send(app, "/admin/", method="GET")[0] == 404
    assert send(app, "/", method="GET")[0] == 404


def test_hosts_are_checked_where_the_project_asks_for_it(app, make_call, settings):
    path = path_of(make_call())
    assert "django.middleware.common.CommonMiddleware" in settings.MIDDLEWARE
    assert send(app, path, b'{"result": 5}', host="evil.example.com")[0] == 400


def test_a_body_without_a_length_is_not_read_to_its_end(app, make_call):
    path, chunks = path_of(make_call()), [b" " * 2**18] * 40
    status, _headers, _body, taken = send(app, path, *chunks)
    assert status == 413
    assert taken <= 6


def test_a_body_that_says_that_it_is_too_large_is_not_read(app, make_call):
    path, headers = path_of(make_call()), {"content-length": str(10**9)}
    status, _headers, _body, taken = send(app, path, b" " * 2**18, b" ", headers=headers)
    assert (status, taken) == (413, 0)


def test_the_api_is_there_with_its_extra(app):
    pytest.importorskip("ninja")
    assert send(app, "/api/executions", method="GET")[0] == 401


def test_the_api_is_left_out_on_another_database(settings):
    pytest.importorskip("ninja")
    settings.DATABASE_ROUTERS = ["tests.webhooks.elsewhere.Router"]
    app = create_app(OrchestratorService("default"))
    assert send(app, "/api/executions", method="GET")[0] == 404


def test_many_clients(tmp_path):
    """The small form of `python -m tests.webhooks.load`. It says what was lost."""
    pytest.importorskip("uvicorn")
    with load.served(tmp_path, **load.environment()) as port:
        figures = load.measure(port, calls=500, clients=50)
    assert figures["requests"] == {
        "answer 200": 500, "duplicate 200": 50, "expired 410": 25, "forged 401": 25,
    }  # fmt: skip

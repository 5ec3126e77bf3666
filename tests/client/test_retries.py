"""What is sent again, and what is not: against a server that follows a script."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import durable_monty
from durable_monty import exceptions
from durable_monty.client import asynchronous, exchange, synchronous

httpx = pytest.importorskip("httpx")

ID = "01a22441-ea8a-722f-b218-863467c2794d"
STARTED = (201, {"json": {"execution_id": ID, "status": "scheduled"}})
UNAVAILABLE = (503, {"json": {"error": {"code": "database_unavailable", "message": "Later."}}})
BUSY = (
    429,
    {
        "json": {"error": {"code": "too_many_requests", "message": "Slowly."}},
        "headers": {"Retry-After": "7"},
    },
)
NOT_SENT, BROKEN = httpx.ConnectError("refused"), httpx.ReadError("reset")


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that a client would have slept."""
    slept = []

    async def asleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(synchronous.time, "sleep", slept.append)
    monkeypatch.setattr(asynchronous.asyncio, "sleep", asleep)
    return slept


@pytest.fixture
def scripted(connect):
    """A client whose server gives these outcomes, one after another, and the requests."""

    def make(*outcomes, **options):
        left, seen = list(outcomes), []

        def answer(request):
            seen.append(request)
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            status, content = outcome
            return httpx.Response(status, **content)

        transport = httpx.MockTransport(answer)
        return connect("https://example.com/api/", "secret", transport=transport, **options), seen

    return make


@pytest.mark.parametrize("outcome", [NOT_SENT, BROKEN, UNAVAILABLE, BUSY])
def test_start_with_a_key_is_sent_again(scripted, pauses, outcome):
    client, seen = scripted(outcome, outcome, STARTED)
    assert client.start("1", key="once") == ID
    assert [request.content for request in seen] == [seen[0].content] * 3
    assert json.loads(seen[0].content)["key"] == "once"
    assert len(pauses) == 2


@pytest.mark.parametrize(("outcome", "times"), [(NOT_SENT, 2), (BUSY, 2), (BROKEN, 1)])
def test_start_without_a_key_is_sent_again_only_if_it_did_nothing(
    scripted, pauses, outcome, times
):
    client, seen = scripted(outcome, STARTED)
    if times == 1:
        with pytest.raises(exceptions.ApiUnreachable, match="reset"):
            client.start("1")
    else:
        assert client.start("1") == ID
    assert len(seen) == times


def test_unavailable_server_is_not_asked_twice_to_complete_a_call(scripted, pauses):
    client, seen = scripted(UNAVAILABLE)
    with pytest.raises(exceptions.RequestRefused, match=r"Later\.") as raised:
        client.complete(ID, 0, 1)
    assert (raised.value.http_status, raised.value.code) == (503, "database_unavailable")
    assert len(seen) == 1


def test_pauses_grow_and_end(scripted, pauses):
    client, seen = scripted(*[BROKEN] * 6, retries=5)
    with pytest.raises(exceptions.ApiUnreachable) as raised:
        client.poll(ID)
    assert isinstance(raised.value, ConnectionError)
    assert len(seen) == 6
    assert pauses == sorted(pauses)
    assert 0.1 <= pauses[0] <= 0.2
    assert pauses[-1] <= 5


def test_server_says_how_long_to_wait(scripted, pauses):
    client, _seen = scripted(BUSY, STARTED)
    client.start("1")
    assert pauses == [7.0]


def test_what_is_not_the_api_is_said(scripted):
    client, _seen = scripted((502, {"text": "<h1>Bad gateway</h1>"}), (200, {"text": "<html>"}))
    with pytest.raises(exceptions.RequestRefused, match="Bad gateway"):
        client.poll(ID)
    with pytest.raises(exceptions.RequestRefused, match="<html>"):
        client.poll(ID)


def test_requests_name_the_key_and_the_form_of_values(scripted):
    client, seen = scripted(STARTED)
    client.start("1")
    assert str(seen[0].url) == "https://example.com/api/executions"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].headers["durable-values"] == "tagged"


def test_broken_stream_is_taken_up_where_it_was(scripted, pauses):
    def stream(text):
        return 200, {"text": text, "headers": {"Content-Type": "text/event-stream"}}

    state = 'id: one\nevent: state\ndata: {"status":"waiting"}\n\n'
    end = 'id: two\nevent: end\ndata: {"status":"completed"}\n\n'
    client, seen = scripted(
        stream(f"retry: 1000\n\n{state}"), BROKEN, UNAVAILABLE, stream(f": heartbeat\n\n{end}")
    )
    assert [event.name for event in client.events(ID)] == ["state", "end"]
    assert [request.headers.get("last-event-id") for request in seen] == [None] + ["one"] * 3
    assert pauses == [1.0, 2.0, 4.0]


def test_every_error_of_the_package_is_known_by_its_code():
    pytest.importorskip("ninja")
    from durable_monty.api.errors import STATUS, code_of

    for kind, status in STATUS.items():
        exc = kind.__new__(kind)
        found = exchange.named(status, code_of(exc), "said", {})
        assert type(found) is kind
        assert str(found) == "said"


def test_client_needs_neither_django_nor_httpx_to_be_imported():
    code = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("django", "httpx", "ninja"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Without())
from durable_monty.client import AsyncClient, Client
for kind in (Client, AsyncClient):
    try:
        kind("https://example.com/api")
    except ImportError as exc:
        print(exc)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(Path(durable_monty.__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "The client needs httpx: pip install 'django-durable-monty[client]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, 2 * said, "")

"""The executor for functions that run behind a URL; what a stranger's server can do to it."""

import gzip
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from durable_monty import OrchestratorService, Retry, Worker, operations, register_function
from durable_monty.doctor.diagnosis import diagnose
from durable_monty.exceptions import (
    CallSettled,
    LeaseLost,
    RunsElsewhere,
    UrlNotAllowed,
    WrongUrlFunction,
)
from durable_monty.executors.loading import make_executor
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Attempt, Call, CallStatus, Execution
from durable_monty.models.clock import database_now
from durable_monty.operations.answer import Answer
from durable_monty.operations.job_answers import job_id_of
from durable_monty.webhooks import read_token
from tests.engines.brokers import require
from tests.engines.conformance import in_thread
from tests.engines.scripted import Scripted, response, saying, trickle
from tests.processes import completed, result, until

pytest.importorskip("httpcore")
pytestmark = pytest.mark.django_db(transaction=True)

OK = response(200, b'{"result": 7}')


@pytest.fixture
def serve():
    servers = []

    def start(script, **options):
        servers.append(Scripted(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def executor(server, **options):
    from durable_monty.executors.http import HttpExecutor

    return HttpExecutor(
        **{
            "base_url": server.url,
            "allowed_hosts": [f"127.0.0.1:{server.port}"],
            "allow_http": True,
            "allow_private": True,
            "timeout": 5,
            **options,
        }
    )


def remote(x=0): ...


@pytest.fixture
def call(register):
    """Runs a workflow of one call of `remote`; its output, or the error that it caught."""

    def run(server, retry=None, url=None, **options):
        register("remote", remote, retry=retry, url=url)
        with in_thread(executor(server, **options)):
            return outcome()

    return run


CATCH = """
try:
    caught = await remote()
except Exception as exc:
    caught = f"{type(exc).__name__}: {exc}"
caught
"""


def start(code=CATCH):
    return OrchestratorService().start_execution(code, ["remote"])


def outcome():
    execution_id = start()
    until(lambda: Execution.objects.filter(finished_at__isnull=False).exists(), "it is finished")
    return result(execution_id)


# --- what is sent ---


def test_the_request(serve, call):
    server = serve(saying(OK))
    assert call(server, headers={"127.0.0.1": {"Authorization": "Bearer x"}}) == 7
    (request,) = server.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    row = Call.objects.get()
    assert json.loads(body) == {
        "function": "remote",
        "args": [],
        "kwargs": {},
        "job_id": job_id_of(row),
        "idempotency_key": row.idempotency_key,
        "execution_id": str(row.execution_id),
        "call_id": 0,
        "attempt": 1,
        "callback_url": None,
    }
    first, *headers = head.split("\r\n")
    assert first == "POST /remote HTTP/1.1"
    assert dict(line.split(": ", 1) for line in headers) == {
        "Host": f"127.0.0.1:{server.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Idempotency-Key": row.idempotency_key,
        "Authorization": "Bearer x",
    }


def test_the_key_is_that_of_all_attempts(serve, call):
    server = serve(saying(response(500), OK))
    assert call(server, Retry(max_attempts=2, initial=0)) == 7
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in server.requests]
    assert len({body["idempotency_key"] for body in bodies}) == 1
    assert len({body["job_id"] for body in bodies}) == 2
    assert [body["attempt"] for body in bodies] == [1, 2]


def test_the_url_of_a_function(serve, register):
    server = serve(saying(OK))
    made = executor(server, urls={"remote": f"{server.url}/by/name?x=1"})
    register("remote", remote)
    assert made.url_of("remote") == f"{server.url}/by/name?x=1"
    assert made.url_of("add") == f"{server.url}/add"
    register("billed", lambda: None, url=f"{server.url}/own")
    assert made.url_of("billed") == f"{server.url}/own"


def test_no_url(serve, call):
    assert call(serve(saying(OK)), base_url=None) == (
        "RuntimeError: There is no URL for remote(). Register it with url='https://...', or give "
        "the executor 'http' the option urls or base_url."
    )


# --- a URL in the registration ---


def test_a_function_with_a_url(register):
    def price(article: str) -> int:
        """What it costs."""

    registered = register("price", price, url="https://api.example.com/price")
    entry = FUNCTION_REGISTRY["price"]
    assert (entry.executor, entry.url) == ("http", "https://api.example.com/price")
    for direct in (registered, entry):
        with pytest.raises(RunsElsewhere) as raised:
            direct("tea")
        assert str(raised.value) == (
            "price() runs at https://api.example.com/price and has no body here: only workflows "
            "call it. In a test, put another function in its place, for example with "
            "unittest.mock.patch."
        )
    complaints = OrchestratorService().check("await price(1, 2)", ["price"])
    rules = [each.rule for each in complaints]
    assert rules == ["invalid-argument-type", "too-many-positional-arguments"]


def test_wrong_urls_are_refused_when_they_are_registered():
    with pytest.raises(UrlNotAllowed, match="no user, password or fragment"):
        register_function("price", url="https://me:secret@api.example.com/")(remote)
    for wrong in ({"executor": "django_q"}, {"transactional": True}):
        with pytest.raises(WrongUrlFunction, match="leave out executor and transactional"):
            register_function("price", url="https://api.example.com/", **wrong)(remote)
    assert "price" not in FUNCTION_REGISTRY


# --- answers that are none ---


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (response(200, b'{"result": '), '200 with application/json, not with JSON: {"result":'),
        (response(200, b"[7]"), "200 with application/json, not with JSON: [7]"),
        (response(200, b"\xff"), "200 with application/json, not with JSON: \ufffd"),
        (response(200, b'{"result": NaN}'), "200 with application/json, not with JSON: "),
        (response(200, b"[" * 100_000), "200 with application/json, not with JSON: [[["),
        (response(200, b'{"result": {"$no": 1}}'), "200 with application/json, not with JSON: "),
        (response(200, b'{"results": 7}'), "200 with JSON that has no 'result': {\"results\": 7}"),
        (
            response(200, b"<h1>Hello", content_type="text/html; charset=utf-8"),
            "200 with text/html, not with JSON: <h1>Hello",
        ),
        (response(200, b'{"result": 7}', content_type=""), "200 with no content type, not with"),
        (response(204, content_type=""), "204."),
        (response(500, b"Oh", content_type="text/plain"), "500: Oh"),
        (response(503, b'{"error": "down"}'), '503: {"error": "down"}'),
    ],
)
def test_answers_that_are_none(serve, call, answer, message):
    """They may be a proxy's, or of a bad day: another attempt is made, if the policy has one."""
    server = serve(saying(answer, answer, OK))
    told = call(server, Retry(max_attempts=2, initial=0))
    assert told.startswith(f"RuntimeError: The URL of remote() answered {message}")
    assert len(server.requests) == 2
    assert len(told) < 700


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_client_errors_are_final(serve, call, status):
    body = b'{"error": {"type": "LookupError", "message": "no such order"}}'
    server = serve(saying(response(status, body)))
    assert call(server, Retry(max_attempts=3, initial=0)) == "LookupError: no such order"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_other_errors_follow_the_policy(serve, call, status):
    body = b'{"error": {"type": "ValueError", "message": "wait", "traceback": "line 1"}}'
    server = serve(saying(response(status, body), OK))
    assert call(server, Retry(max_attempts=3, initial=0)) == 7
    attempt = Attempt.objects.get()
    assert (attempt.error_type, attempt.error_message) == ("ValueError", "wait")
    assert attempt.error_traceback == "line 1"


@pytest.mark.parametrize("kind", [None, 5, "", "Foo.", "no name", ["ValueError"]])
def test_types_that_are_none(serve, call, kind):
    body = json.dumps({"error": {"type": kind, "message": "no"}}).encode()
    assert call(serve(saying(response(500, body)))) == "RuntimeError: no"


def test_the_policy_knows_types_by_their_names(serve, call):
    body = b'{"error": {"type": "ValueError", "message": "no"}}'
    server = serve(saying(response(500, body), OK))
    policy = Retry(max_attempts=3, initial=0, non_retryable=(ValueError,))
    assert call(server, policy) == "ValueError: no"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("is_date", [False, True])
def test_a_service_that_asks_to_wait(serve, register, status, is_date):
    value = "100"
    if is_date:
        later = database_now("default") + timedelta(seconds=100)
        value = format_datetime(later, usegmt=True)
    server = serve(saying(response(status, b"", f"Retry-After: {value}")))
    register("remote", remote, retry=Retry(max_attempts=2, initial=0))
    start()
    retries = Call.objects.filter(status=CallStatus.PENDING, failures=1)
    with in_thread(executor(server)):
        until(retries.exists, "the call waits for its retry")
    seconds = (retries.get().due_at - database_now("default")).total_seconds()
    assert 90 < seconds < 101


def test_redirects_are_not_followed(serve, call):
    elsewhere = serve(saying(OK))
    server = serve(saying(response(307, b"", f"Location: {elsewhere.url}/admin")))
    told = call(server, Retry(max_attempts=3, initial=0))
    assert told == (
        f"RuntimeError: The URL of remote() answered 307, a redirect to {elsewhere.url}/admin. "
        "Redirects are not followed: register the URL that it leads to."
    )
    assert (len(server.requests), len(elsewhere.requests)) == (1, 0)


def test_a_url_that_is_not_allowed(serve, call):
    server = serve(saying(OK))
    hosts = ["127.0.0.1", f"localhost:{server.port}"]
    told = call(server, url=f"{server.url}/x", base_url=None, allowed_hosts=hosts)
    assert told == (
        f"RuntimeError: The URL '{server.url}/x' is not allowed: add '127.0.0.1:{server.port}' to "
        "the option allowed_hosts."
    )
    assert server.requests == []
    assert Call.objects.get().attempt == 1


def test_a_private_address(serve, call):
    server = serve(saying(OK))
    told = call(server, Retry(max_attempts=3, initial=0), allow_private=False)
    assert "127.0.0.1 has the address 127.0.0.1, which is not public" in told
    assert server.requests == []
    assert Call.objects.get().attempt == 1


def test_a_name_that_gets_another_address(serve, call, monkeypatch):
    """The address that was checked is the one that is connected to."""
    server, asked = serve(saying(OK)), []

    def rebinding(host, port, *args, **kwargs):
        asked.append(host)
        address = "127.0.0.1" if asked.count(host) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **kwargs: (rebinding if host == "a.test" else real)(
            host, *args, **kwargs
        ),
    )
    url = f"http://a.test:{server.port}/x"
    assert call(server, url=url, base_url=None, allowed_hosts=[f"a.test:{server.port}"]) == 7
    assert asked == ["a.test"]
    assert f"Host: a.test:{server.port}".encode() in server.requests[0]


# --- servers that do harm ---


def test_a_huge_response(serve, call, durable_settings):
    durable_settings(MAX_VALUE_BYTES=100_000)
    sent = []

    def script(connection, _number):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            connection.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            sent.append(0x2000)

    told = call(serve(script), Retry(max_attempts=3, initial=0))
    assert told == (
        "TypeError: remote() returned what cannot be stored: its response has more than 100,000 "
        "bytes (DURABLE_MONTY['MAX_VALUE_BYTES'])."
    )
    assert Call.objects.get().attempt == 1
    assert sum(sent) < 20_000_000  # what fits into the buffers of two sockets


def test_a_compressed_response(serve, call):
    """It is not unpacked, so it cannot be a bomb."""
    packed = gzip.compress(b'{"result": 7}')
    told = call(serve(saying(response(200, packed, "Content-Encoding: gzip"))))
    assert told.startswith("RuntimeError: The URL of remote() answered 200 with application/json")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"x: " + b"y" * 1000, HEAD + b"\r\n" + b'{"result": ' + b"7" * 400],
    ids=["silence", "slow head", "slow body"],
)
def test_a_slow_response(serve, call, data):
    """The time-out is that of the whole request, however the server spends it."""

    def script(connection, _number):
        trickle(connection, data)
        connection.recv(1)

    began = time.monotonic()
    told = call(serve(script), timeout=0.5)
    assert told == "TimeoutError: remote() did not answer within 0.5 seconds."
    assert time.monotonic() - began < 3


def test_a_slow_handshake(serve, call):
    """In plain text, to a client that expects TLS."""
    server = serve(lambda connection, _number: None)
    server.accepts_any = True
    told = call(server, timeout=0.5, base_url=f"https://127.0.0.1:{server.port}")
    assert told == "TimeoutError: remote() did not answer within 0.5 seconds."


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"SSH-2.0-OpenSSH\r\n\r\n"]
)
def test_a_connection_that_breaks(serve, call, data):
    """Nobody knows whether the function ran: the policy says whether it is tried again."""
    server = serve(saying(data, OK))
    assert call(server, Retry(max_attempts=2, initial=0)) == 7
    attempt = Attempt.objects.get()
    assert attempt.error_type == "ConnectionError"
    assert attempt.error_message.startswith("The request to 127.0.0.1 failed: ")


def test_nobody_listens(serve, call):
    server = serve(saying(OK))
    server.close()
    told = call(server)
    assert told == ("OSError: The request to 127.0.0.1 failed: [Errno 111] Connection refused.")
    assert Call.objects.get().error_type == "ConnectionError"


def test_an_unknown_host(serve, call):
    server = serve(saying(OK))
    told = call(
        server, url="http://nowhere.invalid/", base_url=None, allowed_hosts=["nowhere.invalid"]
    )
    assert told.startswith(
        "OSError: The request to nowhere.invalid failed: its address is not known ("
    )


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1, signed by itself: its file, with the key."""
    folder = tmp_path_factory.mktemp("tls")
    file, key = folder / "certificate.pem", folder / "key.pem"
    require(shutil.which("openssl"), "openssl")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", key, "-out", file),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return file, key


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_certificates(serve, call, certificate, tls):
    server = serve(saying(OK), ssl_context=tls)
    assert call(server, allow_http=False, ca_file=str(certificate[0])) == 7
    assert len(server.requests) == 1


def test_a_certificate_that_nobody_trusts(serve, call, tls):
    told = call(serve(saying(OK), ssl_context=tls))
    assert told.startswith("OSError: The request to 127.0.0.1 failed: ")
    assert "self-signed certificate" in told


def test_a_certificate_of_another_host(serve, call, certificate, tls):
    server = serve(saying(OK), ssl_context=tls)
    told = call(
        server,
        url=f"https://localhost:{server.port}/",
        base_url=None,
        allowed_hosts=[f"localhost:{server.port}"],
        ca_file=str(certificate[0]),
    )
    assert "Hostname mismatch" in told
    assert server.requests == []


def test_a_slow_response_over_tls(serve, call, certificate, tls):
    def script(connection, _number):
        trickle(connection, HEAD)

    server = serve(script, ssl_context=tls)
    told = call(server, timeout=0.5, ca_file=str(certificate[0]))
    assert told == "TimeoutError: remote() did not answer within 0.5 seconds."


# --- the worker ---


def slowly(seconds):
    def script(connection, _number):
        time.sleep(seconds)
        connection.sendall(OK)

    return script


def test_no_more_at_a_time_than_asked_for(serve, register):
    server = serve(slowly(0.1))
    register("remote", remote)
    code = "from asyncio import gather\nawait gather(*[remote(i) for i in range(6)])"
    with in_thread(executor(server, concurrency=2)):
        execution_id = start(code)
        until(lambda: completed(execution_id), "all are answered")
    assert (len(server.requests), server.most) == (6, 2)


def test_a_withdrawn_call_is_hung_up(serve, register):
    gone = threading.Event()

    def script(connection, _number):
        connection.recv(1)  # until the client has gone away
        gone.set()

    server, made = serve(script), None
    register("remote", remote)
    made = executor(server, timeout=60)
    with in_thread(made):
        execution_id = start()
        until(lambda: server.requests, "the request came")
        OrchestratorService().cancel_execution(execution_id, "not wanted", grace=0)
        until(gone.is_set, "the connection is closed")
        until(lambda: made.capacity() == made.concurrency, "there is room again")


def test_a_request_that_takes_longer_than_the_lease(serve, register, durable_settings):
    """Another worker leaves it alone."""
    durable_settings(LEASE=1)
    server = serve(slowly(2.5))
    register("remote", remote)
    with in_thread(executor(server)), in_thread(executor(server)):
        assert outcome() == 7
    assert len(server.requests) == 1
    assert Call.objects.get().attempt == 1


def test_a_worker_that_is_stopped(serve, register, durable_settings):
    """What is still under way is asked again by the next one, at once."""
    durable_settings(DRAIN_TIMEOUT=0.1)

    def script(connection, number):
        connection.sendall(OK) if number > 1 else connection.recv(1)

    server = serve(script)
    register("remote", remote)
    with in_thread(executor(server)):
        execution_id = start()
        until(lambda: server.requests, "the request came")
    call = Call.objects.get()
    assert (call.status, call.claim, call.losses) == (CallStatus.PENDING, None, 0)
    with in_thread(executor(server)):
        until(lambda: completed(execution_id), "the next one asks again")
    assert Call.objects.get().attempt == 2


def test_a_worker_that_drains(serve, register, durable_settings):
    durable_settings(DRAIN_TIMEOUT=5)
    server = serve(slowly(0.5))
    register("remote", remote)
    with in_thread(executor(server)):
        start()
        until(lambda: server.requests, "the request came")
    call = Call.objects.get()
    assert (call.status, call.attempt, call.result) == (CallStatus.COMPLETED, 1, "7")


# --- answers that come later ---


def test_accepted_and_nowhere_to_call_back(serve, call):
    told = call(serve(saying(response(202))), Retry(max_attempts=3, initial=0))
    assert told == (
        "RuntimeError: remote() was accepted, to be answered later, and nothing was told where. "
        "Give the executor 'http' the option callback_base_url."
    )
    assert Call.objects.get().attempt == 1


@pytest.fixture
def accepted(serve, register, monkeypatch, durable_settings):
    """A call that the service has accepted; the worker that asked it has been stopped."""
    durable_settings(LEASE=1)
    server = serve(saying(response(202)))
    monkeypatch.setattr(
        "durable_monty.executors.requests.base.RequestExecutor.callback_url",
        lambda *_: "there",
    )

    def make(retry=None, **options):
        register("remote", remote, retry=retry)
        execution_id = start()
        with in_thread(executor(server, callback_base_url="https://our.test", **options)):
            until(lambda: Call.objects.filter(worker=None, job_id__gt="").exists(), "accepted")
        call = Call.objects.get()
        assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["callback_url"] == "there"
        return execution_id, call, executor(server, callback_base_url="https://our.test")

    return make


def test_an_accepted_call_waits_for_its_answer(accepted, move_clock):
    execution_id, call, another = accepted()
    assert call.is_accepted
    move_clock(3600)  # many leases
    with in_thread(another):
        job_id = job_id_of(call)
        assert operations.settle_job(job_id, Answer.of_result(8, "remote"), using="default")
        until(lambda: completed(execution_id), "the workflow goes on")
        assert result(execution_id) == 8
        assert (
            operations.settle_job(job_id, Answer.of_result(8, "remote"), using="default") is False
        )
        with pytest.raises(CallSettled):
            operations.settle_job(job_id, Answer.of_result(9, "remote"), using="default")
    assert Call.objects.get().attempt == 1


def test_the_doctor_on_an_accepted_call(accepted, move_clock):
    execution_id, _call, another = accepted()
    move_clock(3600)
    with in_thread(another):
        found = diagnose("default", None, timedelta(seconds=60), execution_id)
    assert found.findings == ()
    assert (
        "Call 0, remote(): attempt 1 was accepted by a service, which posts the answer to the "
        "webhook. It times out at "
    ) in "\n".join(found.sentences)
    assert "remote (attempt 1 on webhook)" in found.sentences[0]


def test_an_accepted_call_that_is_never_answered(accepted, move_clock):
    execution_id, call, another = accepted(Retry(max_attempts=2, initial=0), callback_timeout=600)
    move_clock(599)
    worker = Worker(OrchestratorService(), another)
    assert worker.run(once=True)
    assert Call.objects.get().attempt == 1
    move_clock(2)
    with in_thread(another):
        until(lambda: Call.objects.get().attempt == 2, "it is asked again")
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.error_message) == (
        "timed_out",
        "start-to-close: remote() did not end in time",
    )
    job_id = job_id_of(call)
    with pytest.raises(LeaseLost):
        operations.settle_job(job_id, Answer.of_result(8, "remote"), using="default")
    assert not completed(execution_id)


def test_an_accepted_call_keeps_its_start_to_close(serve, register, monkeypatch, durable_settings):
    server = serve(saying(response(202)))
    register("remote", remote, start_to_close=50)
    monkeypatch.setattr(
        "durable_monty.executors.requests.base.RequestExecutor.callback_url",
        lambda *_: "there",
    )
    with in_thread(executor(server, callback_base_url="https://our.test")):
        start()
        until(lambda: Call.objects.filter(worker=None, job_id__gt="").exists(), "accepted")
    call = Call.objects.get()
    assert call.attempt_end_by - call.started_at == timedelta(seconds=50)
    assert call.due_at > call.deadline_at == call.attempt_end_by


def test_the_url_holds_as_long_as_the_answer_may_take(serve, register):
    """The time of an attempt without start-to-close begins when it is accepted."""
    server = serve(saying(response(202)))
    register("remote", remote)
    options = {"callback_timeout": 1000, "timeout": 5}
    with in_thread(executor(server, callback_base_url="https://our.test/", **options)):
        start()
        until(lambda: Call.objects.filter(worker=None, job_id__gt="").exists(), "accepted")
    call = Call.objects.get()
    url = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["callback_url"]
    assert url.startswith("https://our.test/")
    token = read_token(url.rpartition("/")[2])
    assert token.job_id == job_id_of(call)
    assert token.expires > call.attempt_end_by.timestamp()
    assert token.expires < call.attempt_end_by.timestamp() + 10


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is 0; it must be more than 0"),
        ({"timeout": -1}, "timeout is -1; it must be more than 0"),
        ({"secret": ""}, "A secret must be a text that is not empty."),
        ({"secret": ["a", ""]}, "A secret must be a text that is not empty."),
        ({"allowed_hosts": ["https://x"]}, "allowed_hosts has 'https://x'; write"),
        ({"allowed_hosts": [], "base_url": "https://x.test"}, "add 'x.test' to the option"),
        ({"allowed_hosts": [], "base_url": None, "urls": {"a": "https://x.test"}}, "add 'x.test'"),
    ],
)
def test_options_that_are_wrong(serve, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        executor(serve(saying(OK)), **options)


def test_secrets_are_not_shown(durable_settings):
    options = {"concurrency": 0, "secret": "s3cret", "headers": {"a": {"b": "t0ken"}}}
    durable_settings(EXECUTORS={"http": options})
    with pytest.raises(ImproperlyConfigured) as raised:
        make_executor("http")
    assert str(raised.value) == (
        "The executor 'http' does not take {'concurrency': 0, 'secret': '...', 'headers': '...'} "
        "(DURABLE_MONTY['EXECUTORS']): concurrency is 0; it must be more than 0."
    )


def check_messages():
    return [(each.id, each.msg) for each in run_checks() if each.id == "durable_monty.E009"]


def test_the_system_check(register, durable_settings):
    register("price", lambda: None, url="https://api.example.com/price")
    assert check_messages() == []  # these workers do not have the executor
    durable_settings(EXECUTORS={"http": {"allowed_hosts": ["api.example.com"]}})
    assert check_messages() == []
    durable_settings(EXECUTORS={"http": {"urls": {"a": "http://b.test/"}}})
    assert check_messages() == [
        (
            "durable_monty.E009",
            "price(): The URL 'https://api.example.com/price' is not allowed: add "
            "'api.example.com' to the option allowed_hosts.",
        ),
        (
            "durable_monty.E009",
            "The option urls has 'a': The URL 'http://b.test/' is not allowed: it is not https. "
            "The option allow_http=True lets it pass.",
        ),
    ]
    durable_settings(EXECUTORS={"http": {"allowed_hosts": "x"}})
    assert check_messages() == [
        (
            "durable_monty.E009",
            "DURABLE_MONTY['EXECUTORS']['http'] cannot be used: allowed_hosts is the text 'x'; it "
            "must be a list.",
        )
    ]

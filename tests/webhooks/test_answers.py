"""Answers that come over HTTP: by a token, or by a secret; and whatever is wrong with them."""

import datetime
import logging
import time
from decimal import Decimal

import pytest
from django.core import signing
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client

from durable_monty import OrchestratorService, Retry, operations, webhooks
from durable_monty.exceptions import CallNotFound, CallNotStarted, CallSettled
from durable_monty.executors import signing as requests_signing
from durable_monty.executors.loading import make_executor
from durable_monty.models import Attempt, Call
from durable_monty.operations.job_answers import job_id_of
from durable_monty.webhooks.views import answer_call
from tests.support import advance
from tests.webhooks.conftest import OTHER_SECRET, SECRET, begin, output

pytestmark = pytest.mark.django_db

BASE = "https://shop.example.com"
RECORDED, REPEATED = (
    {"status": "recorded", "already": False},
    {"status": "recorded", "already": True},
)
FINISHED = {"status": "finished", "result": 5}


def url_of(call, seconds=None):
    url = webhooks.call_url(call, base_url=BASE, seconds=seconds)
    assert url.startswith(f"{BASE}/durable/call/")
    return url.removeprefix(BASE)


def answered(call):
    call.refresh_from_db()
    return not call.is_open


# --- what is recorded ---


def test_a_result_by_a_token(make_call, post):
    call = make_call()
    assert post(url_of(call), FINISHED) == (200, RECORDED)
    assert output(call) == 5
    assert post.response["Cache-Control"] == "no-store"
    assert not post.response.cookies


def test_a_result_by_a_secret(make_call, post):
    call = make_call()
    body = {"job_id": job_id_of(call), "result": [1, {"a": None}], "status": "finished"}
    assert post.complete({**body, "error": None}) == (200, RECORDED)
    assert output(call) == [1, {"a": None}]


def test_a_signed_request(make_call, post):
    call, now = make_call(), int(time.time())
    body = b'{"job_id": "%s", "result": 5, "status": "finished"}' % job_id_of(call).encode()

    def headers(secret, timestamp):
        signature = requests_signing.sign(body, secret, timestamp)
        return {
            requests_signing.TIMESTAMP: str(timestamp),
            requests_signing.SIGNATURE: signature,
        }

    for wrong in (headers("another", now), headers(SECRET, now - 600)):
        assert post.complete_refused(body, None, **wrong) == (401, "invalid_secret", None)
        # One that is there is what counts.
        assert post.complete_refused(body, **wrong) == (401, "invalid_secret", None)
    assert post.complete(body, None, **headers(SECRET, now)) == (200, RECORDED)


def test_a_job_id_that_the_engine_chose(make_call, post):
    call = make_call()
    Call.objects.update(job_id="job/of the engine")
    body = {"job_id": "job/of the engine", "result": 5, "status": "finished"}
    assert post.complete(body) == (200, RECORDED)
    assert post.complete(body) == (200, REPEATED)
    assert output(call) == 5


@pytest.mark.parametrize(
    ("posted", "value"),
    [
        ({"$decimal": "1.10"}, Decimal("1.10")),
        ({"$tuple": [1, {"$date": "2026-01-31"}]}, (1, datetime.date(2026, 1, 31))),
        ({"$dict": [["$decimal", "no tag"]]}, {"$decimal": "no tag"}),
        ({"a": {"$": 1, "b": 2}}, {"a": {"$": 1, "b": 2}}),
        ("ä\x00\U0001f600", "ä\x00\U0001f600"),
        (None, None),
    ],
)
def test_values_keep_their_types(make_call, post, posted, value):
    call = make_call()
    assert post(url_of(call), {"result": posted}) == (200, RECORDED)
    assert output(call) == value


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"status": "failed", "error": "no room"}, "RuntimeError: no room"),
        ({"status": "failed", "error": "no", "result": None}, "RuntimeError: no"),
        ({"error": {"type": "LookupError", "message": "x"}}, "LookupError: x"),
        (
            {"error": {"type": "shop.errors.OutOfStock", "message": "all gone"}},
            "Exception: all gone",
        ),
        ({"error": {"message": "all gone", "type": None}}, "RuntimeError: all gone"),
    ],
)
def test_errors(make_call, post, body, told):
    call = make_call(retry=Retry(max_attempts=1))
    assert post(url_of(call), body) == (200, RECORDED)
    assert output(call) == told


def test_an_error_goes_through_the_retry_policy(make_call, post, move_clock):
    """The first token is of no use then; what it said already is no error."""
    call = make_call(retry=Retry(max_attempts=2, initial=10, jitter=0))
    url, failure = url_of(call), {"error": {"type": "ValueError", "message": "try again"}}
    assert post(url, failure) == (200, RECORDED)
    assert post(url, failure) == (200, REPEATED)
    assert Attempt.objects.values_list("error_type", "error_message").get() == (
        "ValueError",
        "try again",
    )
    assert post.refusal(url, FINISHED) == (410, "lease_lost", None)

    move_clock(11)
    begin(call)
    assert post.refusal(url, FINISHED) == (410, "lease_lost", None)
    assert post(url_of(call), failure) == (200, RECORDED)
    assert output(call) == "ValueError: try again"


def test_the_same_again(make_call, post):
    call = make_call()
    url, body = url_of(call), {"job_id": job_id_of(call), **FINISHED}
    assert post(url, FINISHED) == (200, RECORDED)
    assert post(url, FINISHED) == (200, REPEATED)
    assert post(url, body) == (200, REPEATED)
    assert post.complete(body) == (200, REPEATED)
    finished_at = Call.objects.get().finished_at
    assert post.refusal(url, {"result": 6}) == (409, "call_settled", None)
    assert post.complete_refused({**body, "result": 5.5}) == (409, "call_settled", None)
    assert post.refusal(url, {"error": "no"}) == (409, "call_settled", None)
    assert Call.objects.get().finished_at == finished_at
    assert output(call) == 5


def test_a_call_that_waits_for_somebody(make_call, post):
    call = make_call(executor="manual")
    url = webhooks.waiting_call_url(str(call.execution_id), call.call_id, BASE).removeprefix(BASE)
    assert post.refusal(url, {"job_id": "1-x", "result": 1}) == (422, "invalid_value", "job_id")
    assert post(url, {"result": {"paid": True}}) == (200, RECORDED)
    assert post(url, {"result": {"paid": True}}) == (200, REPEATED)
    assert post.refusal(url, {"result": {"paid": False}}) == (409, "call_settled", None)
    call.refresh_from_db()
    assert (call.completed_by_id, call.reason) == (None, "Posted to the call's URL.")
    assert output(call) == {"paid": True}


def test_a_call_that_waits_for_somebody_fails(make_call, post):
    call = make_call(executor="manual", retry=Retry(max_attempts=5))
    url, body = url_of(call), {"error": {"type": "a.b.ValueError", "message": "refused"}}
    assert post(url, body) == (200, RECORDED)
    assert post(url, body) == (200, REPEATED)
    assert output(call) == "ValueError: refused"


def test_which_calls_have_a_url(make_call):
    call = make_call()
    with pytest.raises(CallNotFound):
        webhooks.waiting_call_url(str(call.execution_id), 99, BASE)
    with pytest.raises(CallNotFound):
        webhooks.waiting_call_url("no uuid", 1, BASE)
    Call.objects.update(claim=None)
    with pytest.raises(CallNotStarted):
        webhooks.waiting_call_url(call.execution_id, call.call_id, BASE)
    OrchestratorService().complete_call(call.execution_id, call.call_id, 1)
    with pytest.raises(CallSettled):
        webhooks.waiting_call_url(call.execution_id, call.call_id, BASE)


# --- what is refused ---


def deep(levels):
    return "[" * levels + "]" * levels


REFUSED = {
    "malformed": ('{"result": 5', (400, "body_not_json", None)),
    "empty": (" ", (400, "body_not_json", None)),
    "two documents": ('{"result": 5} {}', (400, "body_not_json", None)),
    "not a number": ('{"result": NaN}', (400, "body_not_json", None)),
    "infinite": ('{"result": 1e999}', (400, "body_not_json", None)),
    "not UTF-8": (b'{"result": "\xff"}', (400, "body_not_json", None)),
    "UTF-16": ('{"result": 5}'.encode("utf-16"), (400, "body_not_json", None)),
    "very deep": (f'{{"result": {deep(100_000)}}}', (400, "body_not_json", None)),
    "huge int": (f'{{"result": {"9" * 5_000}}}', (400, "body_not_json", None)),
    "a list": ("[5]", (422, "invalid_value", "body")),
    "nothing said": ("{}", (422, "invalid_value", "status")),
    "unknown status": ('{"status": "done", "result": 5}', (422, "invalid_value", "status")),
    "status is no text": ('{"status": [], "result": 5}', (422, "invalid_value", "status")),
    "both": ('{"result": 5, "error": "no"}', (422, "invalid_value", "status")),
    "finished with error": (
        '{"status": "finished", "result": 5, "error": "no"}',
        (422, "invalid_value", "error"),
    ),
    "failed with result": (
        '{"status": "failed", "result": 5, "error": "no"}',
        (422, "invalid_value", "result"),
    ),
    "no result": ('{"status": "finished"}', (422, "invalid_value", "result")),
    "no error": ('{"status": "failed"}', (422, "invalid_value", "error")),
    "error is a list": ('{"error": ["no"]}', (422, "invalid_value", "error")),
    "error without message": (
        '{"error": {"type": "E"}}',
        (422, "invalid_value", "error['message']"),
    ),
    "error type": (
        '{"error": {"message": "no", "type": 5}}',
        (422, "invalid_value", "error['type']"),
    ),
    "job id is no text": ('{"result": 5, "job_id": 5}', (422, "invalid_value", "job_id")),
    "wrong tag": (
        '{"result": [1, {"a": [{"$decimal": "x"}]}]}',
        (422, "invalid_value", "result[1]['a'][0]"),
    ),
    "unknown tag": ('{"result": {"$own": 1}}', (422, "invalid_value", "result")),
    "deep": (f'{{"result": {{"a": {deep(150)}}}}}', (422, "unstorable_value", None)),
    "surrogate": ('{"result": ["\\ud800"]}', (422, "unstorable_value", "result[0]")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bodies_that_are_refused(make_call, post, case):
    """The same by a token and by a secret; afterwards the call takes its answer all the same."""
    body, (status, code, path) = REFUSED[case]
    call = make_call()
    for refusal in (post.refusal(url_of(call), body), post.complete_refused(body)):
        assert refusal[:2] == (status, code)
        assert path is None or refusal[2] == path
        assert (status == 422) == bool(refusal[2])
    assert not answered(call)
    assert post(url_of(call), FINISHED) == (200, RECORDED)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1"],
)
def test_other_content_types(make_call, post, content_type):
    call = make_call()
    body = '{"result": 5}'
    refusal = (415, "wrong_content_type", None)
    assert post.refusal(url_of(call), body, content_type=content_type) == refusal
    assert not answered(call)
    assert post(url_of(call), body, content_type="application/problem+json") == (200, RECORDED)


def test_bodies_that_are_too_large(make_call, post, settings, durable_settings):
    call = make_call()
    durable_settings(MAX_VALUE_BYTES=1000)
    refusal = post.refusal(url_of(call), {"result": "x" * 1000})
    assert refusal == (422, "unstorable_value", "result")
    refusal = post.refusal(url_of(call), {"result": "x" * 70_000})
    assert refusal == (413, "body_too_large", None)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 500
    assert post.refusal(url_of(call), {"result": "x" * 500}) == (413, "body_too_large", None)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert post.refusal(url_of(call), {"result": "x" * 70_000})[:1] == (413,)
    assert not answered(call)
    assert post(url_of(call), {"result": "x" * 998}) == (200, RECORDED)


class Unread:
    """A body that says when it is read, and has no end."""

    def __init__(self):
        self.taken = 0

    def read(self, size):
        self.taken += size
        return b" " * size


@pytest.mark.parametrize(("length", "most"), [(10**9, 0), (None, 2_000_000)])
def test_what_is_too_large_is_not_read(make_call, rf, length, most):
    call = make_call()
    request = rf.post("/", b"x", content_type="application/json")
    request._stream = stream = Unread()
    request.META["CONTENT_LENGTH"] = "" if length is None else str(length)
    token = url_of(call).rpartition("/")[2]
    assert answer_call(request, token=token, refusals=None).status_code == 413
    assert stream.taken <= most
    # Nor is anything that a stranger sends.
    stream.taken = 0
    assert answer_call(request, token="forged", refusals=None).status_code == 401
    assert stream.taken == 0


@pytest.mark.parametrize(
    "job_id",
    ["unknown", "1-2", "999999999-" + "a" * 32, "-", "1" * 300, "\x00", "\ud800", "9" * 40 + "-1"],
)
def test_unknown_jobs(make_call, post, job_id):
    make_call()
    refusal = post.complete_refused({"job_id": job_id, **FINISHED})
    assert refusal == (404, "job_not_found", None)


def test_a_job_that_was_never_an_attempt_of_its_call(make_call, post):
    call = make_call()
    refusal = post.complete_refused({"job_id": f"{call.pk}-{'a' * 32}", **FINISHED})
    assert refusal == (410, "lease_lost", None)
    assert not answered(call)


def test_a_body_without_a_job(make_call, post):
    make_call()
    assert post.complete_refused(FINISHED) == (422, "invalid_value", "job_id")


def test_a_token_of_another_call(make_call, post):
    one, other = make_call("hooked"), make_call("hooked_too")
    body = {"job_id": job_id_of(one), **FINISHED}
    assert post.refusal(url_of(other), body) == (422, "invalid_value", "job_id")
    assert not answered(one)
    assert not answered(other)


def test_a_token_that_was_used(make_call, post):
    call = make_call()
    url = url_of(call)
    OrchestratorService().complete_call(call.execution_id, call.call_id, 7)
    assert post.refusal(url, FINISHED) == (409, "call_settled", None)
    assert output(call) == 7
    assert post.refusal(url, FINISHED) == (409, "call_settled", None)


def test_tokens_that_have_expired(make_call, post):
    call = make_call()
    assert post.refusal(url_of(call, seconds=-1), FINISHED) == (410, "token_expired", None)
    assert not answered(call)


@pytest.mark.parametrize(
    ("timeouts", "least", "most"),
    [
        ({}, 30 * 86_400 - 60, 30 * 86_400),
        ({"start_to_close": 100}, 100, 170),
        ({"start_to_close": 100, "schedule_to_close": 50}, 50, 120),
    ],
)
def test_how_long_a_token_holds(make_call, timeouts, least, most):
    url = url_of(make_call(**timeouts))
    left = webhooks.read_token(url.rpartition("/")[2]).expires - time.time()
    assert least - 5 < left <= most


def test_withdrawn_calls(make_call, post):
    call = make_call()
    OrchestratorService().terminate_execution(call.execution_id)
    assert post.refusal(url_of(call), FINISHED) == (410, "call_withdrawn", None)
    refusal = post.complete_refused({"job_id": job_id_of(call), **FINISHED})
    assert refusal == (410, "call_withdrawn", None)


def test_calls_that_were_deleted(make_call, post):
    call, asked = make_call(), make_call("asked", executor="manual")
    urls = url_of(call), url_of(asked)
    for each in (call, asked):
        each.execution.delete()
    assert post.refusal(urls[0], FINISHED) == (404, "job_not_found", None)
    assert post.refusal(urls[1], FINISHED) == (404, "call_not_found", None)


def forged_tokens(call):
    token = url_of(call).rpartition("/")[2]
    payload, _, signature = token.rpartition(":")
    own = signing.Signer(salt="durable_monty.webhooks", key="another key")
    read = [webhooks.read_token(token).using, webhooks.read_token(token).expires, job_id_of(call)]
    return [
        "x",
        payload,
        f"{payload}:",
        f"{payload[:-2]}AA:{signature}",
        f"{payload}:{signature[:-1]}",
        own.sign_object(read),
        signing.Signer(salt="another salt").sign_object(read),
        signing.dumps(read),
        "ä:ö",
        "a" * 5_000,
    ]


@pytest.mark.parametrize("number", range(10))
def test_forged_tokens(make_call, post, number):
    call = make_call()
    refusal = post.refusal(f"/durable/call/{forged_tokens(call)[number]}", FINISHED)
    assert refusal == (401, "invalid_token", None)
    assert not answered(call)


def test_a_token_of_a_database_that_is_gone(make_call, post):
    token = webhooks.make_token(job_id_of(make_call()), "archive", 60)
    assert post.refusal(f"/durable/call/{token}", FINISHED) == (401, "invalid_token", None)


def test_tokens_outlive_a_new_secret_key(make_call, post, settings):
    call = make_call()
    url, old = url_of(call), settings.SECRET_KEY
    settings.SECRET_KEY = "a new key"
    assert post.refusal(url, FINISHED) == (401, "invalid_token", None)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert post(url, FINISHED) == (200, RECORDED)


@pytest.mark.parametrize(
    "secret",
    [None, "wrong", SECRET[:-1], SECRET + "x", "ä", "", OTHER_SECRET.upper()],
)
def test_wrong_secrets(make_call, post, secret):
    call = make_call()
    refusal = post.complete_refused({"job_id": job_id_of(call), **FINISHED}, secret)
    assert refusal == (401, "invalid_secret", None)
    assert post.response["WWW-Authenticate"] == "Bearer"
    assert not answered(call)


def test_a_secret_of_another_executor(make_call, post):
    """It is told no more than somebody who asks for a job that never was."""
    call = make_call()
    body = {"job_id": job_id_of(call), **FINISHED}
    assert post.complete_refused(body, OTHER_SECRET) == (404, "job_not_found", None)
    assert post.complete_refused({**body, "job_id": "unknown"}, OTHER_SECRET) == (
        404,
        "job_not_found",
        None,
    )
    told = post.complete(body, OTHER_SECRET)[1]
    assert told == post.complete({**body, "job_id": "unknown"}, OTHER_SECRET)[1]
    assert not answered(call)
    assert post.complete(body) == (200, RECORDED)


def test_calls_of_the_default_executor(make_call, post, durable_settings):
    call = make_call(executor="default")
    body = {"job_id": job_id_of(call), **FINISHED}
    assert post.complete_refused(body) == (404, "job_not_found", None)
    durable_settings(EXECUTOR="durable_monty.executors.rq.RQExecutor")
    assert post.complete(body) == (200, RECORDED)


def test_without_secrets_nobody_comes_in(make_call, post, durable_settings):
    call = make_call()
    durable_settings(EXECUTORS={"rq": {}})
    refusal = post.complete_refused({"job_id": job_id_of(call), **FINISHED}, "")
    assert refusal == (401, "invalid_secret", None)


def test_short_secrets_are_refused(make_call, post, durable_settings):
    make_call()
    durable_settings(EXECUTORS={"rq": {"webhook_secret": "short"}})
    with pytest.raises(Exception, match="at least 20 characters"):
        post.complete({}, "short")


def test_an_executor_is_made_without_the_secret(durable_settings):
    durable_settings(EXECUTORS={"local": {"threads": 3, "webhook_secret": SECRET}})
    assert make_executor("local").threads == 3


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options"])
def test_other_methods(make_call, post, method):
    call = make_call()
    for url in (url_of(call), "/durable/webhook/complete"):
        response = getattr(Client(), method)(url)
        assert response.status_code == 405
        assert response["Allow"] == "POST"
        assert response.json()["error"]["code"] == "method_not_allowed"
    assert not answered(call)


# --- what else may go wrong ---


def test_the_database_is_out_of_reach(make_call, post, monkeypatch):
    call = make_call()
    url = url_of(call)

    def fail(*args, **kwargs):
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patched:
        patched.setattr(operations, "settle_job", fail)
        assert post.refusal(url, FINISHED) == (503, "database_unavailable", None)
        assert post.response["Retry-After"] == "5"
    assert post(url, FINISHED) == (200, RECORDED)


def test_a_flood_of_wrong_tokens(make_call, rf, monkeypatch):
    """It is slowed down, and nobody who has a token suffers from it."""
    call, now = make_call(), [1_800_000_010.0]

    def status(token, address="10.0.0.1"):
        request = rf.post("/", FINISHED, content_type="application/json", REMOTE_ADDR=address)
        response = answer_call(request, token=token, refusals=3)
        return response.status_code, response.headers.get("Retry-After")

    token = url_of(call, seconds=10**9).rpartition("/")[2]
    monkeypatch.setattr("time.time", lambda: now[0])
    assert [status("forged") for _ in range(5)] == 3 * [(401, None)] + 2 * [(429, "50")]
    assert status("forged", "10.0.0.2") == (401, None)
    assert status(token) == (200, None)
    now[0] += 60
    assert status("forged") == (401, None)


def test_a_cache_that_is_away(make_call, post, monkeypatch, log):
    def fail(*args):
        raise ConnectionError("no cache")

    monkeypatch.setattr(cache, "add", fail, raising=False)
    assert post.refusal("/durable/call/x", FINISHED) == (401, "invalid_token", None)
    assert "refusals not counted: no cache" in log.text


def test_nothing_leaks_into_the_log(make_call, post, log, caplog):
    caplog.set_level(logging.DEBUG)
    call = make_call()
    url = url_of(call)
    post.refusal(url, {"result": {"$own": "private"}})
    post.refusal(f"{url}x", FINISHED)
    post.complete_refused({}, "a secret that is wrong")
    assert "webhook refused: 422 invalid_value" in log.text
    for private in (url.rpartition("/")[2], "private", "a secret that is wrong"):
        assert private not in caplog.text


def test_a_worker_goes_on_at_once(make_call, post):
    """The execution is due as soon as the answer is there."""
    call = make_call()
    post(url_of(call), FINISHED)
    call.execution.refresh_from_db()
    assert call.execution.due_at is not None
    assert advance(call.execution_id) == "completed"

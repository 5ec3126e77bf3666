"""What is refused, and how."""

import inspect
import json

import pytest
from django.core.cache import cache
from django.db import InterfaceError, OperationalError
from django.test import Client
from django.urls import path
from ninja.throttling import AuthRateThrottle

from durable_monty import exceptions, operations
from durable_monty.api import Caller, make_api
from durable_monty.api.errors import STATUS, code_of, status_of
from durable_monty.models import Execution
from tests.api.conftest import Api, error_of

pytestmark = pytest.mark.django_db

RAISABLE = [
    value
    for value in vars(exceptions).values()
    if inspect.isclass(value) and issubclass(value, exceptions.DurableMontyError)
]


def raw(api, data, content_type="application/json", path="/executions"):
    return api.client.post(
        f"/api{path}", data=data, content_type=content_type, headers=api.headers
    )


def refusal(response):
    return response.status_code, error_of(response)["code"]


@pytest.mark.parametrize("kind", RAISABLE)
def test_every_error_has_a_status_and_a_code_of_its_own(kind):
    error = kind.__new__(kind)
    assert status_of(error) in {400, 401, 403, 404, 409, 413, 415, 422, 500, 503, 504}
    assert [other for other in RAISABLE if code_of(other.__new__(other)) == code_of(error)] == [
        kind
    ]


def test_the_table_names_no_error_twice():
    assert all(issubclass(kind, exceptions.DurableMontyError) for kind in STATUS)
    assert code_of(exceptions.ExecutionNotFound(1)) == "execution_not_found"


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "nothing",
        '{"code": NaN}',
        '{"code": 1e999}',
        "[" * 100_000,
        b"\xff",
        '{"a": -Infinity}',
    ],
)
def test_what_is_not_json(api, body):
    assert refusal(raw(api, body)) == (400, "body_not_json")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
def test_wrong_content_types(api, content_type):
    assert refusal(raw(api, '{"code": "1"}', content_type)) == (415, "wrong_content_type")
    assert not Execution.objects.exists()


def test_a_body_that_is_too_large(api, durable_settings):
    limits = durable_settings(MAX_VALUE_BYTES=1_000, MAX_SOURCE_BYTES=1_000)
    size = limits.MAX_VALUE_BYTES + limits.MAX_SOURCE_BYTES + 65 * 1024
    response = raw(api, json.dumps({"code": "1", "inputs": {"x": "a" * size}}))
    assert refusal(response) == (413, "body_too_large")
    response = raw(api, json.dumps({"code": "1", "inputs": {"x": "a" * 2_000}}))
    assert refusal(response) == (422, "unstorable_value")
    assert error_of(response)["path"] == "inputs"


def test_djangos_own_limit_is_told_too(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = raw(api, json.dumps({"code": "1", "inputs": {"x": "a" * 200}}))
    assert refusal(response) == (413, "body_too_large")


def test_other_methods(api):
    response = api.client.delete("/api/executions", headers=api.headers)
    assert refusal(response) == (405, "method_not_allowed")
    assert {*response["Allow"].split(", ")} == {"GET", "POST"}


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({}, "code", "Field required"),
        ({"code": 5}, "code", "valid string"),
        ({"code": "1", "nmae": "x"}, "nmae", "not permitted"),
        ({"code": "1", "name": "a\0b"}, "name", "cannot be stored, at 1"),
        ({"code": "1", "functions": ["\ud800"]}, "functions.0", "cannot be stored, at 0"),
        ({"code": "1", "key": ""}, "key", "at least 1 character"),
        ({"code": "1", "deadline": -1}, "deadline", "greater than 0"),
        ({"code": "1", "deadline": 1e300}, "deadline", "less than or equal to 3153600000"),
        ([], "given", "valid dictionary"),
    ],
)
def test_the_form_of_a_request(api, given, path, message):
    response = raw(api, json.dumps(given))
    assert refusal(response) == (422, "invalid_request")
    assert error_of(response)["path"] == path
    assert message in error_of(response)["message"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"code": "await no_such()", "functions": ["no_such"]}, "unknown_function"),
        ({"code": "  "}, "invalid_workflow"),
        ({"code": "a +"}, "wrong_source"),
        ({"code": "1", "inputs": {"1": 1}}, "invalid_inputs"),
        ({"code": "1", "inputs": {"x": {"$decimal": "no"}}}, "invalid_value"),
        ({"code": "1", "inputs": {"x": {"$zone": "Europe"}}}, "invalid_value"),
        ({"code": "1", "inputs": {"x": {"$int": "0x"}}}, "invalid_value"),
        ({"code": "1", "inputs": {"x": {"$set": [[]]}}}, "invalid_value"),
    ],
)
def test_what_cannot_be_started(api, given, code):
    response = api.post("/executions", given)
    assert refusal(response) == (422, code), response.content
    assert not Execution.objects.exists()


def test_complaints_about_a_source(api):
    response = api.post("/executions", {"code": "x = 1\ny = x +"})
    (complaint, *_) = error_of(response)["complaints"]
    assert complaint["line"] == 2
    assert api.post("/check", {"code": "x = 1\ny = x +"}).json()["complaints"] == [complaint]
    assert api.post("/check", {"code": "1 + 1"}).json() == {"complaints": []}


def test_answering_twice(api, asked):
    path = f"/executions/{asked().pk}/calls/0/complete"
    assert api.post(path, {"result": 1}).status_code == 200
    for again in (1, 2):
        assert refusal(api.post(path, {"result": again})) == (409, "call_settled")
    assert refusal(api.post(path, {})) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("verb", "body", "code"),
    [
        ("resume", None, "execution_not_paused"),
        ("resolve", {"reason": "x"}, "execution_not_failed"),
        ("retry", None, "nothing_to_retry"),
        ("fork", {"turn": 9}, "turn_not_forkable"),
    ],
)
def test_what_does_not_fit_an_execution(api, asked, verb, body, code):
    assert refusal(api.post(f"/executions/{asked().pk}/{verb}", body)) == (409, code)


def test_finished_executions(api, asked):
    execution = asked()
    assert api.post(f"/executions/{execution.pk}/terminate").json()["status"] == "cancelled"
    for verb in ("cancel", "terminate", "pause", "resume"):
        response = api.post(f"/executions/{execution.pk}/{verb}")
        assert refusal(response) == (409, "execution_finished"), verb


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_that_is_down(api, monkeypatch, error):
    def down(using):
        raise error

    monkeypatch.setattr(operations.api_keys, "database_now", down)
    response = api.get("/executions")
    assert refusal(response) == (503, "database_unavailable")
    assert response["Retry-After"] == "5"
    assert api.get("/health").status_code == 200
    monkeypatch.setattr("durable_monty.api.health.database_now", down)
    assert refusal(api.get("/ready")) == (503, "database_unavailable")


def test_faults_of_the_server_are_left_to_django(api, monkeypatch):
    monkeypatch.setattr(operations.api_keys, "database_now", {}.__getitem__)
    api.client.raise_request_exception = False
    assert api.get("/executions").status_code == 500


# --- authentication and throttles of a project's own ---


class Header:
    """Trusts a proxy that has authenticated the user."""

    def __call__(self, request):
        from django.contrib.auth.models import User

        return User.objects.filter(username=request.headers.get("X-User")).first()


class Broken:
    def __call__(self, request):
        return "somebody"


urlpatterns = [
    path("api/", make_api(auth=[Header()], urls_namespace="own").urls),
    path("broken/api/", make_api(auth=[Broken()], urls_namespace="broken").urls),
    path(
        "slow/api/",
        make_api(throttle=[AuthRateThrottle("1/m")], urls_namespace="slow").urls,
    ),
]


@pytest.fixture
def own_urls(settings, _urls):
    settings.ROOT_URLCONF = __name__


def test_authentication_of_the_projects_own(own_urls, admin_user):
    assert Api(Client(), **{"X-User": "admin"}).get("/executions").status_code == 200
    response = Api(Client(), **{"X-User": "nobody"}).get("/executions")
    assert refusal(response) == (401, "not_authenticated")
    with pytest.raises(Exception, match="must give a user or a durable_monty.api.Caller"):
        Client().get("/broken/api/executions")
    assert Caller().may("read") is False


def test_throttles(own_urls, with_key):
    cache.clear()
    api = with_key("read")
    first, second = (api.client.get("/slow/api/executions", headers=api.headers) for _ in range(2))
    assert first.status_code == 200
    assert refusal(second) == (429, "too_many_requests")
    assert 0 < int(second["Retry-After"]) <= 60

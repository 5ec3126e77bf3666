"""Who may do what: every endpoint of the API is in one table."""

import uuid

import pytest
from django.test import Client

from durable_monty import OrchestratorService
from durable_monty.api.urls import api as the_api
from durable_monty.models import Call, Execution, KeyScope
from tests.api.conftest import Api, error_of

pytestmark = pytest.mark.django_db

ONE = "/executions/{execution_id}"
CALL = f"{ONE}/calls/{{call_id}}"
VIEW = ("view_execution", "view_call", "view_program", "view_workerprocess", "view_snapshot")

# method, path -> scope, permissions, a valid body. No scope: everybody may.
ENDPOINTS = {
    ("POST", "/executions"): ("start", ["start_execution"], {"code": "1"}),
    ("POST", "/check"): ("start", ["start_execution"], {"code": "1"}),
    ("GET", "/functions"): ("start", ["start_execution"], None),
    ("GET", "/executions"): ("read", ["view_execution"], None),
    ("GET", "/executions/events"): ("read", ["view_execution"], None),
    ("GET", f"{ONE}/events"): ("read", ["view_execution"], None),
    ("GET", ONE): ("read", ["view_execution"], None),
    ("GET", f"{ONE}/calls"): ("read", ["view_execution", "view_call"], None),
    ("GET", f"{ONE}/export"): (
        "read",
        ["view_execution", "view_call", "view_program", "export_execution"],
        None,
    ),
    ("POST", f"{CALL}/complete"): ("answer", ["view_call", "complete_call"], {"result": 1}),
    ("POST", f"{CALL}/fail"): ("answer", ["view_call", "complete_call"], {"error": "no"}),
    ("POST", f"{CALL}/retry"): ("answer", ["view_call", "retry_call"], None),
    **{
        ("POST", f"{ONE}/{verb}"): (
            "operate",
            ["view_execution", f"{verb}_execution"],
            {"reason": "because"},
        )
        for verb in ("cancel", "terminate", "pause", "resume", "resolve", "retry")
    },
    ("POST", f"{ONE}/fork"): (
        "operate",
        ["view_execution", "view_call", "fork_execution"],
        {"turn": 0},
    ),
    ("GET", "/health"): (None, [], None),
    ("GET", "/ready"): (None, [], None),
}
REFUSABLE = [endpoint for endpoint, (scope, *_) in ENDPOINTS.items() if scope]
each_endpoint = pytest.mark.parametrize(("method", "path"), REFUSABLE)


@pytest.fixture
def rows(asked):
    execution = asked()

    def read():
        return [list(model.objects.order_by("pk").values()) for model in (Execution, Call)]

    return execution, read


def ask(api, method, path, execution):
    body = ENDPOINTS[method, path][2]
    place = path.format(execution_id=execution.pk, call_id=0)
    return api.get(place) if method == "GET" else api.post(place, body)


def is_refusal(response, status=403, code="not_permitted"):
    return (response.status_code, error_of(response)["code"]) == (status, code)


def test_every_endpoint_is_in_the_table():
    found = {
        (method.upper(), path)
        for path, operations in the_api.get_openapi_schema(path_prefix="")["paths"].items()
        for method in operations
    }
    assert found == ENDPOINTS.keys()


@each_endpoint
def test_nobody_is_refused(rows, method, path):
    execution, read = rows
    before = read()

    response = ask(Api(Client()), method, path, execution)

    assert is_refusal(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    assert read() == before


@each_endpoint
def test_staff_without_permissions_is_refused(rows, make_user, api_of, method, path):
    execution, read = rows
    before = read()

    foreign = api_of(make_user(is_staff=True))

    assert is_refusal(ask(foreign, method, path, execution))
    assert read() == before


@each_endpoint
def test_who_may_only_look_changes_nothing(rows, make_user, api_of, method, path):
    execution, read = rows
    before = read()
    viewer = api_of(make_user(*VIEW))

    response = ask(viewer, method, path, execution)

    if set(ENDPOINTS[method, path][1]) <= set(VIEW):
        assert response.status_code == 200
    else:
        assert is_refusal(response)
    assert read() == before


@each_endpoint
def test_each_permission_is_needed(rows, make_user, api_of, method, path):
    execution, _read = rows
    _scope, needed, _body = ENDPOINTS[method, path]
    for left_out in needed:
        user = make_user(*(name for name in needed if name != left_out))
        assert is_refusal(ask(api_of(user), method, path, execution)), left_out
    allowed = ask(api_of(make_user(*needed)), method, path, execution)
    # It may be refused for what the execution is, by then.
    assert allowed.status_code in (200, 201, 409), allowed.content


@each_endpoint
def test_a_key_needs_its_scope(rows, with_key, admin_user, method, path):
    execution, read = rows
    before = read()
    scope = ENDPOINTS[method, path][0]
    others = [each for each in KeyScope if each != scope]

    assert is_refusal(ask(with_key(*others), method, path, execution))
    assert is_refusal(ask(with_key(*others, user=admin_user), method, path, execution))
    assert read() == before
    allowed = ask(with_key(scope), method, path, execution)
    assert allowed.status_code in (200, 201, 409), allowed.content


@each_endpoint
def test_a_key_may_not_do_more_than_its_user(rows, with_key, make_user, method, path):
    execution, read = rows
    before = read()
    key = with_key(*KeyScope, user=make_user())

    assert is_refusal(ask(key, method, path, execution))
    assert read() == before


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_load_balancers_need_no_key(path):
    assert Api(Client()).get(path).status_code in (200, 503)


@pytest.mark.parametrize("body", [{"code": "2"}, {"functions": []}])
def test_a_fork_with_other_code_needs_what_a_start_needs(asked, make_user, api_of, with_key, body):
    execution = asked()
    needed = ["view_execution", "view_call", "fork_execution"]
    path = f"/executions/{execution.pk}/fork"

    assert is_refusal(api_of(make_user(*needed)).post(path, {"turn": 0, **body}))
    assert is_refusal(with_key("operate").post(path, {"turn": 0, **body}))


@pytest.mark.parametrize(
    "body",
    [{"code": "await add(1, 2)", "functions": ["add"]}, {"code": "1", "functions": ["add"]}],
)
def test_only_offered_functions_are_started(make_user, api_of, with_key, body):
    """Those with admin=True, unless the user may let source call any function."""
    offered = {"code": "await double(2)", "functions": ["double"]}
    user = make_user("start_execution")
    trusted = make_user("start_execution", "call_any_function")
    limited = [api_of(user), with_key("start"), with_key("start", user=user)]
    for api in limited:
        for path in ("/executions", "/check"):
            assert is_refusal(api.post(path, body), 403, "function_not_permitted")
            assert api.post(path, offered).status_code in (200, 201)
        names = [row["function"] for row in api.get("/functions").json()["items"]]
        assert "double" in names
        assert "add" not in names
    for api in (api_of(trusted), with_key("start", user=trusted)):
        assert api.post("/executions", body).status_code == 201


def test_calls_are_hidden_from_who_may_not_see_them(asked, make_user, api_of):
    execution = asked()
    shown = api_of(make_user("view_execution")).get(f"/executions/{execution.pk}").json()
    assert shown["pending_calls"] is None
    assert "the budget" not in str(shown)


def test_a_session_sends_the_csrf_token(asked, make_user):
    execution = asked()
    user = make_user("view_execution", "pause_execution")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    path = f"/executions/{execution.pk}/pause"

    assert is_refusal(Api(client).post(path), 403, "csrf_refused")
    assert Execution.objects.get().status == "waiting"
    assert Api(client).get(f"/executions/{execution.pk}").status_code == 200
    token = "a" * 32
    client.cookies["csrftoken"] = token
    assert Api(client, **{"X-CSRFToken": token}).post(path).status_code == 200
    assert Execution.objects.get().status == "paused"


def test_a_key_needs_no_csrf_token(with_key, asked):
    api = with_key("operate")
    api.client = Client(enforce_csrf_checks=True)
    assert api.post(f"/executions/{asked().pk}/pause").status_code == 200


def test_an_unknown_id_is_not_found(api):
    for (method, path), (scope, _permissions, _body) in ENDPOINTS.items():
        if scope and "{execution_id}" in path:
            response = ask(api, method, path, Execution(pk=uuid.uuid4()))
            assert is_refusal(response, 404, "execution_not_found"), path
    execution_id = OrchestratorService().start_execution("1", [])
    response = api.post(f"/executions/{execution_id}/calls/7/complete", {"result": 1})
    assert is_refusal(response, 404, "call_not_found")

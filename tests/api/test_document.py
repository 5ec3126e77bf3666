"""The tables of docs/reference/http-api.md; its blocks run with those of all documents."""

import re

from durable_monty import exceptions
from durable_monty.api.errors import code_of, status_of
from durable_monty.models import KeyScope
from tests.api.test_access import ENDPOINTS
from tests.api.test_errors import RAISABLE
from tests.documents import ROOT, tables

DOCUMENT = ROOT / "durable_monty/docs/reference/http-api.md"
CODE = re.compile(r"`(\w+)`")

# What no request of the API can raise: workers and functions do, or it is a server's fault.
ELSEWHERE = {
    404: {"job_not_found"},
    409: {"execution_not_completed", "lease_lost"},
    422: {"wrong_workflow"},
}


def test_its_endpoints_scopes_and_permissions():
    told = {}
    for request, _does, scope, permissions in tables(DOCUMENT)["Endpoints"]:
        method, path = request.strip("`").split()
        path = "/" + path.replace("{id}", "{execution_id}")
        always = permissions.partition("(")[0]
        told[method, path] = (None if scope == "none" else scope.strip("`"), CODE.findall(always))
    known = {
        endpoint: (scope, permissions)
        for endpoint, (scope, permissions, _body) in ENDPOINTS.items()
    }
    assert told == known
    assert {scope for scope, _permissions in told.values()} == {None, *KeyScope}


def test_its_codes():
    told = {int(status): {*CODE.findall(codes)} for status, codes in tables(DOCUMENT)["Errors"]}
    for kind in RAISABLE:
        error = kind.__new__(kind)
        status = status_of(error)
        if status == 500 or issubclass(kind, exceptions.FunctionError) or status == 504:
            continue
        if kind in (exceptions.IllegalTransition, exceptions.ExecutorUnavailable):
            continue
        if kind is exceptions.ExecutionNotResolved:
            continue  # no endpoint takes a resolution back
        code = code_of(error)
        assert code in told[status] | ELSEWHERE.get(status, set()), (status, code)

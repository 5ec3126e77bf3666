"""The OpenAPI document is true: schemathesis sends what it allows, and what it forbids."""

import itertools
import os

import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import override_settings
from hypothesis import HealthCheck, settings as hypothesis_settings

from durable_monty import operations
from durable_monty.models import ApiKey, KeyScope
from durable_monty.models.api_key import hash_of
from tests.api.conftest import URLS

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

# So many requests for each endpoint; more of them in a long run.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "8"))

with override_settings(ROOT_URLCONF=URLS):
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application())


SECRET = "dmk_of_this_test"


@schema.auth()
class Key:
    def get(self, case, context):
        return SECRET

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


# What the sandbox, the registry or the database decides: no schema can say it before. A fault in
# the form of a request is "invalid_request", and that must be in the document.
DECIDED_LATER = {
    "invalid_cursor",
    "invalid_inputs",
    "invalid_value",
    "invalid_workflow",
    "unknown_function",
    "unstorable_value",
    "wrong_source",
}


@pytest.fixture
def target(db, settings, admin_user, service):
    """A key that may do everything, a worker, and an execution that waits for a person."""
    settings.ROOT_URLCONF = URLS
    operations.register_worker("local", [], using="default")
    execution_id = service.start_execution("await approve(1)", ["approve"])
    service.process_execution(execution_id)
    key, _secret = operations.make_api_key("test", KeyScope, user=admin_user, using="default")
    ApiKey.objects.filter(pk=key.pk).update(sha256=hash_of(SECRET))
    return execution_id, itertools.count()


@pytest.fixture
def _one_connection(db):
    """Requests stay in the transaction of the test, as those of Django's test client do."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.mark.usefixtures("_one_connection")
@schema.parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case, target):
    execution_id, numbers = target
    is_valid = not case.meta.generation.mode.is_negative
    if is_valid and "execution_id" in case.path_parameters and next(numbers) % 2:
        case.path_parameters["execution_id"] = execution_id
        if "call_id" in case.path_parameters:
            case.path_parameters["call_id"] = 0
    response = case.call()
    excluded = []
    if is_valid and response.status_code in (400, 422):
        error = response.json()["error"]
        assert error["code"] in DECIDED_LATER, error
        excluded = [positive_data_acceptance]
    case.validate_response(response, excluded_checks=excluded)

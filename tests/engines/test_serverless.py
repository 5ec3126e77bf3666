"""The executor for AWS Lambda, against an endpoint that others wrote."""

import pytest

from durable_monty import OrchestratorService
from durable_monty.models import Call, Execution
from tests.engines.conformance import in_thread
from tests.engines.engine_aws_lambda import CREDENTIALS
from tests.engines.pages import answer_call, serve_view
from tests.engines.serverless_offline import ServerlessOffline
from tests.processes import result, until

pytest.importorskip("boto3")
pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["refuse", "slow", "total", "gone", "later"]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    endpoint = ServerlessOffline(tmp_path_factory.mktemp("serverless"))
    try:
        endpoint.start()
        yield endpoint
    finally:
        endpoint.kill()


@pytest.fixture
def outcome(endpoint, register, monkeypatch):
    """The result of a call, or the error that the workflow caught."""
    from durable_monty.executors.aws_lambda import LambdaExecutor

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in set(NAMES) - {"total"}:
        register(name, lambda *_args: None)

    def run(call, **options):
        code = f"""
try:
    caught = await {call}
except Exception as exc:
    caught = f"{{type(exc).__name__}}: {{exc}}"
caught
"""
        made = LambdaExecutor(
            prefix="durable-dev-", endpoint_url=endpoint.url, region="eu-central-1", **options
        )
        with in_thread(made):
            execution_id = OrchestratorService().start_execution(code, NAMES)
            finished = Execution.objects.filter(pk=execution_id, finished_at__isnull=False)
            until(finished.exists, "it is finished")
            return result(execution_id)

    return run


def test_a_result(outcome):
    assert outcome("total(1, 2)") == 3


def test_a_failure(outcome):
    assert outcome("refuse('tea')").endswith(": no tea left")
    assert "RangeError: no tea left" in Call.objects.get().error_traceback


def test_a_time_out(outcome):
    assert "timeout" in outcome("slow()").lower()


def test_a_function_that_is_not_there(outcome):
    assert outcome("gone()") == (
        "Exception: Lambda refused the invocation of gone(): Function not found: durable-dev-gone"
    )
    call = Call.objects.get()
    assert (call.error_type, call.attempt) == ("ResourceNotFoundException", 1)


def test_an_event_whose_answer_is_posted(outcome):
    with serve_view(answer_call) as url:
        assert outcome("later(1, 2)", invocation="event", callback_base_url=url) == 3
    assert Call.objects.get().attempt == 1

"""The executor for AWS Lambda, against the endpoint with AWS's own runtime."""

import os

import pytest
from django.core.exceptions import ImproperlyConfigured

from durable_monty import OrchestratorService, operations
from durable_monty.models import Call, Execution
from durable_monty.operations.answer import Answer
from durable_monty.operations.job_answers import job_id_of
from tests.engines.conformance import in_thread
from tests.engines.engine_aws_lambda import CREDENTIALS
from tests.engines.lambda_endpoint import FUNCTION
from tests.engines.services import ServiceProcess
from tests.processes import completed, result, until

pytest.importorskip("boto3")
pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.django_db(transaction=True)


NAMES = ["fail_as", "jot", "no_value", "overrun_long", "total"]


@pytest.fixture(autouse=True)
def overrun(register):
    """Without a time-out of its own."""
    register("overrun_long", lambda started: None)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Runs two functions at a time, for three seconds each."""
    service = ServiceProcess(
        tmp_path_factory.mktemp("lambda"), "tests.engines.lambda_endpoint", "2", "3"
    )
    service.start()
    yield service
    service.kill()


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Those of the tests, and none of this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def executor(url, **options):
    from durable_monty.executors.aws_lambda import LambdaExecutor

    return LambdaExecutor(
        **{
            "functions": dict.fromkeys(NAMES, FUNCTION),
            "endpoint_url": url,
            "region": "eu-central-1",
            **options,
        }
    )


def start(call, **inputs):
    code = f"""
from asyncio import gather
try:
    caught = await {call}
except Exception as exc:
    caught = f"{{type(exc).__name__}}: {{exc}}"
caught
"""
    return OrchestratorService().start_execution(code, NAMES, inputs)


@pytest.fixture
def outcome(endpoint):
    """The result of a call, or the error that the workflow caught."""

    def run(call, url=None, started=None, text=None, **options):
        inputs = {"started": started, "text": text}
        with in_thread(executor(url or endpoint.url, **options)):
            execution_id = start(call, **inputs)
            finished = Execution.objects.filter(pk=execution_id, finished_at__isnull=False)
            until(finished.exists, "it is finished")
            return result(execution_id)

    return run


def test_throttled_invocations_wait(outcome):
    """What Lambda has no room for has not run: it is no failed attempt."""
    assert outcome("gather(*[total(i, 1) for i in range(8)])") == list(range(1, 9))
    assert set(Call.objects.values_list("attempt", "failures")) == {(1, 0)}


def test_throttled_until_the_end(endpoint, tmp_path):
    busy = [tmp_path / f"started-{number}" for number in range(2)]
    with in_thread(executor(endpoint.url, timeout=1)):
        for path in busy:
            start("overrun_long(started)", started=str(path))
        until(lambda: all(path.exists() for path in busy), "there is no room")
        start("total(1, 2)")
        ended = Call.objects.filter(function="total", finished_at__isnull=False)
        call = until(ended.first, "its time is over")
    assert (call.error_type, call.error_message, call.attempt) == (
        "TooManyRequestsException",
        "Lambda refused the invocation of total(): Rate Exceeded.",
        1,
    )


def test_a_time_out_of_lambda(outcome, tmp_path):
    started = tmp_path / "started"
    told = outcome("overrun_long(started)", started=str(started))
    assert told == "TimeoutError: RequestId: 1 Error: Task timed out after 3.00 seconds"
    assert len(started.read_text().splitlines()) == 1


def test_a_failure_is_told_as_the_runtime_tells_it(outcome):
    assert outcome("fail_as('OutOfStock', 'none left')") == "Exception: none left"
    call = Call.objects.get()
    assert (call.error_type, call.raised_as) == ("OutOfStock", "Exception")
    assert "in fail_as\n    raise" in call.error_traceback


def test_a_result_that_the_runtime_cannot_send(outcome):
    told = outcome("no_value()")
    assert told.startswith(
        "TypeError: no_value() returned what cannot be stored: Unable to marshal"
    )
    assert Call.objects.get().attempt == 1


def test_a_lambda_function_that_is_not_there(outcome):
    told = outcome("fail_as('a', 'b')", functions={"fail_as": "gone"})
    assert told == (
        "Exception: Lambda refused the invocation of fail_as(): Function not found: gone"
    )
    call = Call.objects.get()
    assert (call.error_type, call.attempt) == ("ResourceNotFoundException", 1)


def test_names(endpoint, outcome):
    assert outcome("total(1, 2)", functions={}, prefix="durable-", qualifier="live").endswith(
        "Function not found: durable-total"
    )


def test_an_endpoint_that_is_away(outcome):
    told = outcome("total(1, 2)", url="http://127.0.0.1:9")
    assert told.startswith("OSError: The invocation of total() failed: Could not connect")
    assert Call.objects.get().error_type == "ConnectionError"


EVENT = {"invocation": "event", "callback_base_url": "https://our.test"}


def test_an_event_is_answered_later(endpoint, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "durable_monty.executors.requests.base.RequestExecutor.callback_url",
        lambda *_: "there",
    )
    path = tmp_path / "ran"
    with in_thread(executor(endpoint.url, **EVENT)):
        execution_id = start("jot(path, 'ran')", path=str(path))
        until(lambda: Call.objects.filter(worker=None, job_id__gt="").exists(), "accepted")
        until(path.exists, "it ran")
        job_id = job_id_of(Call.objects.get())
        operations.settle_job(job_id, Answer.of_result("later", "jot"), using="default")
        until(lambda: completed(execution_id), "the workflow goes on")
    assert result(execution_id) == "later"
    assert path.read_text() == "ran\n"


def test_a_payload_that_is_too_large(outcome, monkeypatch):
    monkeypatch.setattr(
        "durable_monty.executors.requests.base.RequestExecutor.callback_url",
        lambda *_: "there",
    )
    told = outcome("total(text)", text="x" * 1_048_500, **EVENT)
    assert told.startswith("RuntimeError: The request for total() has 1,048,")
    assert told.endswith(
        " bytes; at most 1,048,576 can be sent. Hand over where the data is, instead of the data."
    )
    assert Call.objects.get().attempt == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"invocation": "later"}, "invocation is 'later'; use 'sync' or 'event'"),
        ({"invocation": "event"}, "invocation='event' needs callback_base_url"),
        ({"concurrency": 0}, "concurrency is 0; it must be more than 0"),
    ],
)
def test_options_that_are_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        executor("http://127.0.0.1:9", **options)


def test_no_region():
    with pytest.raises(ImproperlyConfigured, match="give it the option region"):
        executor("http://127.0.0.1:9", region=None).start("default", None)


def test_no_credentials(monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    with pytest.raises(ImproperlyConfigured, match="finds no AWS credentials"):
        executor("http://127.0.0.1:9").start("default", None)


@pytest.mark.parametrize(
    ("payload", "kind", "message"),
    [
        (b'{"errorMessage": "m", "errorType": "ValueError"}', "ValueError", "m"),
        (b'{"errorMessage": "m", "errorType": "E", "trace": ["a", "b"]}', "E", "m"),
        (b'{"errorMessage": "Runtime exited", "errorType": ""}', "RuntimeError", "Runtime exited"),
        (b'{"errorMessage": "x Task timed out after 3.00 seconds"}', "TimeoutError", None),
        (b"not JSON", "RuntimeError", "pay() failed: not JSON"),
        (b"[1]", "RuntimeError", "pay() failed: [1]"),
        (b'{"errorType": 5, "stackTrace": 5}', "RuntimeError", ""),
    ],
)
def test_errors_of_other_runtimes(payload, kind, message):
    from durable_monty.executors.aws_lambda.replies import failure_of

    failure = failure_of("pay", payload)
    assert failure.error_type == kind
    assert message is None or failure.message == message
    assert failure.traceback in ("", "a\nb\n")
    assert failure.is_final is False

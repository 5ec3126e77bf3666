"""The Modal executor beyond what the conformance tests have: Modal's own errors and outages."""

import inspect
import json
import re
import statistics
from importlib import util

import pytest
from django.core.exceptions import ImproperlyConfigured

from durable_monty import OrchestratorService, Worker, operations
from durable_monty.exceptions import ExecutionNotCompleted
from durable_monty.executors.django_q import DjangoQExecutor
from durable_monty.executors.loading import configured_executors
from durable_monty.executors.modal import ModalExecutor
from durable_monty.models import Call, CallStatus, Execution
from tests.documents import ROOT, of_language, tables
from tests.engines.conformance import SETTINGS, in_thread, manage_process
from tests.engines.engine_modal import ModalServer
from tests.processes import result, until
from tests.test_checks import messages

modal = pytest.importorskip("modal")

from durable_monty.executors.modal import client as modal_client  # noqa: E402

DOCUMENT = ROOT / "durable_monty" / "docs" / "how-to" / "modal.md"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def running_server(tmp_path_factory):
    server = ModalServer(tmp_path_factory.mktemp("modal"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server, durable_settings):
    durable_settings(**SETTINGS)
    yield running_server
    for method in ("up", "restore_token", "deploy", "forget", "resume"):
        running_server.tell(method)


def executor(**options):
    return ModalExecutor("shop", **{"poll": 0.5, **options})


@pytest.fixture
def worker(server):
    with in_thread(executor()) as worker:
        yield worker


@pytest.fixture
def on_modal(register):
    def add(name, **policy):
        register(name, lambda *_args: None, **policy)

    return add


def start(code, functions, **inputs):
    return OrchestratorService().start_execution(code, functions, inputs)


def output_of(execution_id):
    finished = Execution.objects.filter(pk=execution_id, finished_at__isnull=False)
    until(finished.exists, "the workflow is finished")
    return result(execution_id)


def error_of(name, *args):
    """How the only call of a function failed, as its row has it and as its workflow sees it."""
    code = f"""
try:
    await {name}(*args)
except Exception as exc:
    caught = str(exc)
caught
"""
    caught = output_of(start(code, [name], args=list(args)))
    call = Call.objects.get(function=name)
    assert call.status == CallStatus.FAILED
    return call, caught


# --- results ---


def test_results_come_at_once(worker):
    """From the function's end to its recorded answer."""
    for _ in range(15):
        output_of(start("await time_of_end()", ["time_of_end"]))
    calls = Call.objects.filter(function="time_of_end")
    waits = [call.finished_at.timestamp() - float(call.result) for call in calls]
    assert statistics.median(waits) < 0.25


def test_more_calls_than_places_to_wait(server, monkeypatch):
    """What waits does not keep new calls from being spawned, nor asks Modal all the time."""
    monkeypatch.setattr(modal_client, "_MAX_WAITING", 10)
    server.tell("pause")
    before = server.tell("facts")["requests"]["FunctionGetOutputs"]
    with in_thread(executor(poll=1.0)):
        ids = [start("await total(x, 1)", ["total"], x=x) for x in range(60)]
        until(lambda: len(server.tell("waiting")) == 60, "all are spawned")
        server.tell("resume")
        assert [output_of(each) for each in ids] == list(range(1, 61))
    assert server.tell("facts")["requests"]["FunctionGetOutputs"] - before < 60 * 12


def test_two_workers(server, log, tmp_path):
    """Both learn of the end of a call that one of them has submitted; it is recorded once."""
    path, started = tmp_path / "go", tmp_path / "started"
    with in_thread(executor()), in_thread(executor()):
        ids = [
            start("await wait_for(p, s)", ["wait_for"], p=str(path), s=str(started))
            for _ in range(3)
        ]
        until(lambda: Call.objects.exclude(job_id="").count() == 3, "all are spawned")
        before = server.tell("facts")["requests"]["FunctionGetOutputs"]
        until(
            lambda: server.tell("facts")["requests"]["FunctionGetOutputs"] > before + 8,
            "both workers have asked",
        )
        path.touch()
        assert [output_of(each) for each in ids] == ["done"] * 3
    assert server.tell("facts")["calls"] == 3
    assert [each.getMessage() for each in log.records if "refused" in each.getMessage()] == []


def test_a_worker_that_looks_once_at_a_time(server):
    """`runworker --once`, from cron: nothing waits for Modal in between."""
    execution_id = start("await total(1, 2)", ["total"])
    until(lambda: look_once() or is_finished(execution_id), "the workflow is finished")
    assert result(execution_id) == 3


def look_once():
    Worker(OrchestratorService(), executor()).run(once=True)


def is_finished(execution_id):
    return Execution.objects.filter(pk=execution_id, finished_at__isnull=False).exists()


def test_cbor(server, monkeypatch):
    """Modal's other format: nothing is unpickled, and errors keep their types."""
    monkeypatch.setenv("MODAL_PAYLOAD_FORMAT", "cbor")
    with in_thread(executor()):
        value = {"rows": [1, 2.5, "ä", None, True, {"b": [10**12]}]}
        assert output_of(start("await same(value)", ["same"], value=value)) == value
        call, caught = error_of("fail_as", "ValueError", "it's no\nnumber")
    assert (call.error_type, caught) == ("ValueError", "it's no\nnumber")


# --- errors ---


@pytest.mark.parametrize(
    ("function", "error_type", "message"),
    [
        ("crash", "InternalFailure", "Runner terminated unexpectedly"),
        ("overrun_there", "TimeoutError", "Task's current input hit its timeout of 1s"),
        ("leave", "SystemExit", "3"),
        ("time_out", "TimeoutError", ""),
        ("be_unavailable", "ConnectionError", "the function's own connection"),
        ("strange_value", "TypeError", "The result cannot be read here; return plain values."),
    ],
)
def test_errors(worker, on_modal, function, error_type, message):
    on_modal(function)
    call, caught = error_of(function)
    assert call.error_type == error_type
    assert call.error_message.startswith(message)
    assert (message in caught) == bool(message or not caught)
    # The client, which got it, goes on.
    assert output_of(start("await total(1, 2)", ["total"])) == 3


@pytest.mark.parametrize("message", ["no such order", "several\n  lines: 'ä'", ""])
def test_an_exception_whose_class_is_not_here(worker, on_modal, message):
    on_modal("fail_strangely")
    call, _caught = error_of("fail_strangely", message)
    assert (call.error_type, call.error_message) == ("StrangeError", message)
    assert "in fail_strangely" in call.error_traceback


def test_a_call_that_was_cancelled_on_the_pages_of_modal(server, worker):
    server.tell("pause")
    execution_id = start("await total(1, 2)", ["total"])
    until(lambda: server.tell("waiting"), "it is spawned")
    server.tell("cancel")
    with pytest.raises(ExecutionNotCompleted, match="Input was cancelled by user"):
        output_of(execution_id)
    assert Call.objects.get().error_type == "RemoteError"


def test_a_function_that_is_not_deployed(worker, on_modal):
    on_modal("nowhere")
    _call, caught = error_of("nowhere")
    assert "The function 'nowhere' is not available: Modal says: Lookup failed" in caught
    assert "Deploy it with 'modal deploy', or name another one in the option" in caught


def test_an_app_that_is_stopped_and_deployed_again(server, worker):
    assert output_of(start("await total(1, 1)", ["total"])) == 2
    server.tell("deploy")
    assert output_of(start("await total(1, 2)", ["total"])) == 3


def test_an_app_that_is_stopped(server, worker):
    assert output_of(start("await total(1, 1)", ["total"])) == 2
    server.tell("stop_app")
    execution_id = start("await total(1, 2)", ["total"])
    with pytest.raises(ExecutionNotCompleted, match="is not available: Modal says"):
        output_of(execution_id)


def test_time_outs_end_the_call_at_modal(server, on_modal, tmp_path):
    on_modal("wait_briefly", start_to_close=0.3)
    before = len(server.tell("facts")["cancelled"])
    with in_thread(executor(functions={"wait_briefly": "wait_for"})):
        call, _caught = error_of("wait_briefly", str(tmp_path / "go"), str(tmp_path / "started"))
        assert call.error_type == "TimeoutError"
        until(lambda: len(server.tell("facts")["cancelled"]) == before + 1, "it is cancelled")
    (tmp_path / "go").touch()


# --- outages ---


def test_without_a_token(server, monkeypatch, worker):
    modal.Client.from_env().close()
    monkeypatch.delenv("MODAL_TOKEN_ID")
    monkeypatch.delenv("MODAL_TOKEN_SECRET")
    execution_id = start("await total(1, 2)", ["total"])
    with pytest.raises(ExecutionNotCompleted, match="Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"):
        output_of(execution_id)


def test_a_token_that_is_refused(server, log, worker):
    """Nothing is lost: the calls wait for a better one."""
    modal.Client.from_env().close()
    server.tell("revoke_token")
    execution_id = start("await total(1, 2)", ["total"])
    warned = "calls are not submitted now, and will be tried again: The executor 'modal' cannot"
    until(lambda: warned in log.text, "it is logged")
    assert "Check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET" in log.text
    server.tell("restore_token")
    assert output_of(execution_id) == 3
    assert Call.objects.get().attempt == 1


def test_modal_is_silent(server, monkeypatch, log):
    """It accepts the connection and answers nothing."""
    monkeypatch.setattr(modal_client, "_TIMEOUT", 0.5)
    with in_thread(executor()):
        assert output_of(start("await total(1, 1)", ["total"])) == 2
        server.tell("keep_silent")
        execution_id = start("await total(1, 2)", ["total"])
        until(lambda: "Modal has not answered for" in log.text, "it is logged")
        server.tell("up")
        assert output_of(execution_id) == 3


def test_outputs_that_are_expired(server, worker):
    """Modal keeps outputs for a week. The function runs again."""
    server.tell("pause")
    execution_id = start("await total(1, 2)", ["total"])
    until(lambda: server.tell("waiting"), "it is spawned")
    server.tell("expire")
    until(lambda: server.tell("facts")["calls"] == 2, "it is spawned again")
    server.tell("resume")
    assert output_of(execution_id) == 3


def test_a_spawned_call_whose_id_was_not_stored(server, tmp_path):
    """The worker was killed in between. The call comes back by its lease, and runs twice."""
    path = tmp_path / "ran"
    execution_id = start("await jot(path, 'ran')", ["jot"], path=str(path))
    OrchestratorService().process_execution(execution_id)
    claims = operations.claim_calls(["jot"], ["default"], 1, using="default")
    (call,) = operations.start_attempts(claims, using="default")
    lost = executor()
    lost.submit_call(call)
    lost.stop(0)
    with in_thread(executor()):
        assert output_of(execution_id) == "ran"
    assert path.read_text() == "ran\nran\n"
    assert Call.objects.get().attempt == 2


def test_a_worker_that_is_killed(server, tmp_path):
    """kill -9 while functions run: they go on, and the next worker gets what they return."""
    path, started = tmp_path / "go", tmp_path / "started"
    process = manage_process(
        tmp_path,
        "runworker",
        "--executor=modal",
        DURABLE_MONTY_JSON=json.dumps({**SETTINGS, "EXECUTORS": {"modal": {"app": "shop"}}}),
    )
    try:
        process.until_ready()
        execution_id = start("await wait_for(p, s)", ["wait_for"], p=str(path), s=str(started))
        until(lambda: Call.objects.exclude(job_id="").exists(), "its id is stored")
        until(started.exists, "the function runs")
    finally:
        process.end()
    path.touch()
    with in_thread(executor()):
        assert output_of(execution_id) == "done"
    assert len(started.read_text().split()) == 1
    assert Call.objects.get().attempt == 1


# --- options ---


@pytest.mark.parametrize("app", ["", None, 4])
def test_the_app_is_a_name(app):
    with pytest.raises(ValueError, match="it must be the name of a deployed Modal app"):
        ModalExecutor(app)


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(util, "find_spec", lambda _name: None)
    with pytest.raises(ImproperlyConfigured, match=re.escape("'django-durable-monty[modal]'")):
        ModalExecutor("shop")


# --- the document ---


def test_the_document(settings):
    """Its Modal app can be defined, and its settings have no fault."""
    app, options = (
        block.text for block in of_language(DOCUMENT, "text") if block.text.startswith("# ")
    )
    namespace = {}
    exec(app, namespace)
    assert namespace["app"].name == "shop"
    assert namespace["render_clip"].local("/clip", 720) == {
        "url": "/clip?height=720",
        "height": 720,
    }
    exec(options, namespace)
    settings.DURABLE_MONTY = namespace["DURABLE_MONTY"]
    assert messages() == []
    assert [type(each) for each in configured_executors()] == [DjangoQExecutor, ModalExecutor]


def test_the_options_of_the_document():
    documented = [re.findall(r"`([^`]+)`", row[0])[0] for row in tables(DOCUMENT)["Options"]]
    parameters = inspect.signature(ModalExecutor).parameters.values()
    assert documented == [
        str(parameter.replace(annotation=parameter.empty)) for parameter in parameters
    ]

"""Starts of workflows in files: by object, by name, with options and with arguments that do not
fit."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from durable_monty import OrchestratorService
from durable_monty.exceptions import (
    InvalidInputs,
    InvalidWorkflow,
    KeyConflict,
    UnknownWorkflow,
    UnstorableValue,
    WrongSource,
    WrongWorkflow,
)
from durable_monty.models import Execution, Program, WorkflowVersion
from tests.support import work
from tests.workflows.conftest import REFUND

pytestmark = pytest.mark.django_db


def test_runs_to_its_output(load, service):
    refund = load().refund
    execution_id = refund.start(7, reason="late", b=2, a=1)
    work()
    assert service.get_result(execution_id) == "24 for late"
    execution = Execution.objects.get(pk=execution_id)
    assert execution.log == "[('a', 1), ('b', 2)]\n"
    assert execution.inputs == '{"number":7,"reason":"late","b":2,"a":1}'
    assert (execution.name, execution.label) == ("refund", "")
    assert execution.program.entry == "refund"
    assert execution.program.functions == {"add": "add", "twice": "double"}
    version = execution.version
    assert (version.name, version.number, version.file) == ("refund", 1, "shop_workflows.py")
    assert version.program == execution.program


def test_defaults_stay_the_workflows_own(load, service):
    first = load().refund.start(7)
    load(REFUND.replace('"broken"', '"unknown"'))
    work()
    assert Execution.objects.get(pk=first).inputs == '{"number":7}'
    assert service.get_result(first) == "24 for broken"


def test_by_name_and_by_object(load, service):
    refund = load().refund
    started = [
        refund.start(7),
        refund.start(number=7),
        service.start(refund, 7),
        service.start("refund", 7),
        service.start("refund", number=7),
        async_to_sync(refund.astart)(7),
        async_to_sync(service.astart)(refund, number=7),
        async_to_sync(service.astart)("refund", 7),
        refund.options(label="x").start(7),
        async_to_sync(refund.options(label="x").astart)(7),
        refund.options(using="default").start(7),
    ]
    assert len(set(started)) == len(started)
    executions = Execution.objects.filter(pk__in=started)
    assert set(executions.values_list("name", "inputs", "version__number")) == {
        ("refund", '{"number":7}', 1)
    }
    assert Program.objects.count() == WorkflowVersion.objects.count() == 1


def test_options(load, service):
    refund = load().refund
    order = refund.options(key="order-7", label="Ms Lee", deadline=timedelta(hours=1))
    execution_id = order.start(7)
    execution = Execution.objects.get(pk=execution_id)
    assert (execution.key, execution.label) == ("order-7", "Ms Lee")
    assert execution.deadline == execution.created_at + timedelta(hours=1)
    assert order.start(number=7) == execution_id
    with pytest.raises(KeyConflict) as error:
        order.start(8)
    assert error.value.differing == ("inputs",)
    assert refund.options(key="order-7", on_conflict="return").start(8) == execution_id
    state = service.poll(execution_id)
    assert (state["name"], state["label"], state["version"]) == ("refund", "Ms Lee", 1)
    assert service.poll()[0]["version"] == 1


def test_key_means_name_and_inputs_not_code(load):
    first = load().refund.options(key="k").start(7)
    later = load(REFUND.replace("RATE = 3", "RATE = 4")).refund
    assert later.options(key="k").start(7) == first
    source = REFUND.replace("def refund", "def repay")
    with pytest.raises(KeyConflict) as error:
        load(source, "other").repay.options(key="k").start(7)
    assert error.value.differing == ("name",)


def test_key_of_a_start_without_a_name_compares_the_code(load, service):
    first = service.start_execution("await add(1, 2)", ["add"], {"number": 7}, key="k")
    with pytest.raises(KeyConflict) as error:
        load().refund.options(key="k").start(7)
    assert error.value.differing == ("code", "functions")
    assert error.value.execution_id == Execution.objects.get(pk=first).pk


@pytest.mark.parametrize(
    ("args", "kwargs", "reasons"),
    [
        ((), {}, "'number' is missing"),
        ((1, 2), {}, "it takes 1 positional argument, and was given 2"),
        ((1,), {"number": 2}, "'number' is given twice"),
        (
            (1, 2, 3),
            {"number": 4},
            "it takes 1 positional argument, and was given 3; 'number' is given twice",
        ),
    ],
)
def test_arguments_that_do_not_fit(load, args, kwargs, reasons):
    refund = load().refund
    with pytest.raises(InvalidInputs) as error:
        refund.start(*args, **kwargs)
    assert str(error.value) == (
        f"refund(number, *, reason='broken', **more) cannot be started so: {reasons}."
    )
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (
            (1, 2, 3),
            {"lines": [], "nmber": 3},
            "pay(number, lines=(), *, to) cannot be started so: it takes 2 positional arguments, "
            "and was given 3; 'to' is missing; it has no parameter 'nmber'; "
            "'lines' is given twice.",
        ),
        (
            (),
            {"nmber": 3},
            "pay(number, lines=(), *, to) cannot be started so: 'number' and 'to' are missing; "
            "it has no parameter 'nmber' (did you mean 'number'?).",
        ),
        (
            (1,),
            {"too": 3},
            "pay(number, lines=(), *, to) cannot be started so: 'to' is missing; "
            "it has no parameter 'too' (did you mean 'to'?).",
        ),
    ],
)
def test_all_that_does_not_fit_is_named(load, args, kwargs, message):
    source = """
from durable_monty import workflow

@workflow
async def pay(number, lines=(), *, to):
    return number

@workflow
async def nothing():
    return 1
"""
    module = load(source)
    with pytest.raises(InvalidInputs) as error:
        module.pay.start(*args, **kwargs)
    assert str(error.value) == message
    with pytest.raises(InvalidInputs) as error:
        module.nothing.start(1)
    assert str(error.value) == (
        "nothing() cannot be started so: it takes no positional arguments, and was given 1."
    )


def test_unknown_name(load, service):
    load()
    with pytest.raises(UnknownWorkflow) as error:
        service.start("refnd", 7)
    assert str(error.value).startswith(
        "There is no workflow 'refnd'. Did you mean 'refund'? Workflows are found in the "
        "workflows.py of an installed app. Known: "
    )
    with pytest.raises(UnknownWorkflow) as error:
        service.start("x" * 50)
    assert "Did you mean" not in str(error.value)


def test_what_is_no_workflow(service):
    with pytest.raises(InvalidWorkflow) as error:
        service.start(test_unknown_name)
    assert str(error.value) == (
        "test_unknown_name is no workflow: start one by its name, or by what @workflow returned."
    )
    with pytest.raises(InvalidWorkflow, match="^7 is no workflow"):
        service.start(7)


def test_values_that_cannot_be_stored(load):
    with pytest.raises(UnstorableValue, match=r"^inputs\['number'\]: "):
        load().refund.start(object())


def test_a_workflow_that_cannot_be_one(load):
    module = load(
        REFUND.replace("RATE = 3", "RATE = 3\nimport shutil").replace("Line(RATE)", "shutil")
    )
    with pytest.raises(WrongWorkflow) as error:
        module.refund.start(7)
    assert str(error.value) == (
        "refund() cannot be a workflow.\nshop_workflows.py:24:28: No module named 'shutil' "
        "in the sandbox. Write a function with @register_function that uses it, and call that "
        "function."
    )
    assert not Execution.objects.exists()


def test_complaints_about_the_source_name_the_file(load, log, durable_settings):
    refund = load(
        REFUND.replace("await add(total(lines),", "await add(total(lines), 3, 4,")
    ).refund
    message = (
        "The workflow cannot work.\nshop_workflows.py:24:41: Too many positional arguments to "
        "function `add`: expected 2, got 4."
    )
    for _ in range(2):
        with pytest.raises(WrongSource) as error:
            refund.start(7)
        assert str(error.value) == message
    durable_settings(CHECK="warn")
    refund.start(7)
    refund.start(7)
    (record,) = log.records
    assert record.message == (
        "A workflow starts in spite of complaints:\nshop_workflows.py:24:41: Too many positional "
        "arguments to function `add`: expected 2, got 4."
    )


def test_the_source_is_checked_once(load, monkeypatch):
    from durable_monty.operations import start as module

    checked = []
    monkeypatch.setattr(module, "refuse_wrong", lambda *args, **kwargs: checked.append(kwargs))
    refund = load(REFUND.replace("RATE = 3", "RATE = 33")).refund
    for number in range(3):
        refund.start(number)
    assert checked == [{"file": "shop_workflows.py"}]


def test_start_belongs_to_the_callers_transaction(load):
    refund = load().refund
    with pytest.raises(RuntimeError, match="undo"), transaction.atomic():
        refund.start(7)
        raise RuntimeError("undo")
    assert not Execution.objects.exists()
    assert not WorkflowVersion.objects.exists()
    # What was rolled back is made again.
    assert Execution.objects.get(pk=refund.start(7)).version.number == 1


def test_start_takes_no_more_statements_than_that_of_a_source(load):
    refund, service = load().refund, OrchestratorService()
    refund.start(7)
    service.start_execution("await add(x, 1)", ["add"], {"x": 7}, name="add")
    with CaptureQueriesContext(connection) as of_source:
        service.start_execution("await add(x, 1)", ["add"], {"x": 7}, name="add")
    with CaptureQueriesContext(connection) as of_workflow:
        refund.start(7)
    assert len(of_workflow) == len(of_source)
    if connection.vendor == "postgresql":
        assert len([each for each in of_workflow if "INSERT" in each["sql"]]) == 1
        assert len([each for each in of_workflow if "SELECT" in each["sql"]]) == 1

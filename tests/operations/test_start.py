import threading
import uuid

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from durable_monty import OrchestratorService
from durable_monty.exceptions import (
    ExecutionNotCompleted,
    ExecutionNotFound,
    ExecutionNotPaused,
    FunctionError,
    InvalidWorkflow,
    KeyConflict,
    UnknownFunction,
    UnstorableValue,
    WaitTimeout,
)
from durable_monty.models import Execution, Program
from tests.app import workflows

pytestmark = pytest.mark.django_db


def test_source_is_stored_once_for_each_function_map(service):
    for functions in (["add"], ["add"], ["add", "double"]):
        service.start_execution("await add(1, 2)", functions)
    assert Execution.objects.count() == 3
    assert {tuple(program.functions) for program in Program.objects.all()} == {
        ("add",),
        ("add", "double"),
    }


def test_functions_by_name_path_and_object(service):
    for given in ("add", "tests.app.workflows.add", workflows.add):
        execution_id = service.start_execution("await add(1, 2)", [given])
        execution = Execution.objects.get(pk=execution_id)
        assert execution.program.functions == {"add": "add"}


def test_start_belongs_to_the_callers_transaction(service):
    with pytest.raises(RuntimeError, match="undo"), transaction.atomic():
        service.start_execution("1", [])
        raise RuntimeError("undo")
    assert not Execution.objects.exists()


def test_same_key_gives_the_same_execution(service):
    first = service.start_execution("a", [], {"a": 1}, key="order-7", name="pay")
    assert service.start_execution("a", [], {"a": 1}, key="order-7") == first
    assert Execution.objects.get().name == "pay"


PAY = """
\'\'\'Pays.\'\'\'
total = 0  # euros
for price in prices:
    total += price
text = f"{total}#1"
await add(total, '# 1')
"""


@pytest.mark.parametrize(
    "code",
    [
        PAY,
        PAY.replace("  # euros", ""),
        PAY.replace("# euros", '# isn\'t in "cents" {'),
        PAY.replace("total = 0", "# the sum\n\n\ntotal = 0").rstrip(),
        PAY.replace("    total += price", "        # each\n        total+=price\n\n    # so far"),
        PAY.replace("\n", "\r\n"),
    ],
)
def test_code_without_comments_and_layout_is_the_same_code(service, code):
    first = service.start_execution(PAY, ["add"], {"prices": [1]}, key="order-7")
    assert service.start_execution(code, ["add"], {"prices": [1]}, key="order-7") == first
    assert (
        service.start_execution(code, ["add"], {"prices": [1]}, key="order-7", name="pay") == first
    )


def test_other_code_is_another_meaning(service):
    first = service.start_execution("await add(1, 2)", ["add"], key="order-7")
    with pytest.raises(KeyConflict, match="which differs in code. Use"):
        service.start_execution("await add(1, 3)", ["add"], key="order-7")
    options = {"key": "order-7", "on_conflict": "return"}
    assert service.start_execution("await add(1, 3)", ["add"], **options) == first
    assert Execution.objects.count() == 1


@pytest.mark.usefixtures("unchecked")
def test_with_a_name_the_code_may_be_another(service):
    inputs = {"order": 7, "lines": {"b": 1, "a": 2}}
    first = service.start_execution("a", ["add"], inputs, key="order-7", name="pay")

    turned = dict(reversed(inputs.items()))
    assert service.start_execution("b", [], turned, key="order-7", name="pay") == first
    for name, other, differing in [
        ("pay back", inputs, "name"),
        ("pay", inputs | {"order": 8}, "inputs"),
        ("pay", inputs | {"lines": {"a": 2, "b": 1}}, "inputs"),
        ("pay back", {}, "name and inputs"),
        ("", inputs, "code and functions"),
    ]:
        with pytest.raises(KeyConflict) as raised:
            service.start_execution("b", [], other, key="order-7", name=name)
        assert raised.value.differing == tuple(differing.split(" and "))
        started = service.start_execution(
            "b", [], other, key="order-7", name=name, on_conflict="return"
        )
        assert started == first


def test_on_conflict_is_one_of_two(service):
    with pytest.raises(InvalidWorkflow, match="on_conflict must be 'raise' or 'return', not 'x'."):
        service.start_execution("1", [], key="a", on_conflict="x")


@pytest.mark.parametrize(
    ("code", "functions", "inputs", "differing"),
    [
        ("b", ["add"], {"a": 1}, "code"),
        ("a", [], {"a": 1}, "functions"),
        ("a", ["add"], {"a": 2}, "inputs"),
        ("b", ["add"], None, "code and inputs"),
    ],
)
def test_same_key_with_other_content_is_refused(service, code, functions, inputs, differing):
    first = service.start_execution("a", ["add"], {"a": 1}, key="order-7")
    with pytest.raises(KeyConflict) as caught:
        service.start_execution(code, functions, inputs, key="order-7")
    assert str(caught.value) == (
        f"The key 'order-7' already belongs to execution {first}, which differs in {differing}. "
        f"Use another key, or start it with the same {differing}."
    )
    assert Execution.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("", []), InvalidWorkflow, "The workflow source is empty."),
        ((b"1", []), InvalidWorkflow, "The workflow source must be a str, not bytes."),
        (("1\0", []), InvalidWorkflow, "The workflow source contains a NUL character."),
        (("'\ud800'", []), InvalidWorkflow, "The workflow source is not valid Unicode: "),
        (
            ("x" * 300_000, []),
            InvalidWorkflow,
            "The workflow source has 300,000 bytes; "
            "DURABLE_MONTY['MAX_SOURCE_BYTES'] allows 262,144.",
        ),
        (("1", [], [1]), InvalidWorkflow, "inputs must be a dict of variable names to values"),
        (("1", [], {"a b": 1}), InvalidWorkflow, "The input name 'a b' is not a Python variable"),
        (("1", ["add"], {"add": 1}), InvalidWorkflow, "'add' is both an input and a function"),
        (("1", [], {"a": [{"b": {1: object()}}]}), UnstorableValue, "inputs['a'][0]['b'][1]: "),
        (("1", "add"), FunctionError, "must be a list of functions, not the string 'add'"),
        (
            ("1", ["ad"]),
            UnknownFunction,
            "The function 'ad' is not available: did you mean 'add'? no "
            "@register_function('ad') was found in the workflows.py of an installed app.",
        ),
        (
            ("1", ["json.dumps"]),
            UnknownFunction,
            "The function 'json.dumps' is not available: workers do not load it. Decorate it "
            "with @register_function in the workflows.py of an installed app, or add 'json' to "
            "DURABLE_MONTY['FUNCTION_MODULES'].",
        ),
        (("1", [uuid.uuid4]), UnknownFunction, "The function 'uuid.uuid4' is not available: "),
    ],
)
def test_bad_start_is_refused_and_stores_nothing(service, arguments, error, message):
    with pytest.raises(error) as caught:
        service.start_execution(*arguments)
    assert message in str(caught.value)
    assert not Execution.objects.exists()
    assert not Program.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", 7])
def test_unusable_key_is_refused(service, key):
    with pytest.raises(InvalidWorkflow, match="The key must be"):
        service.start_execution("1", [], key=key)


@pytest.mark.django_db(transaction=True)
def test_two_starts_with_one_key_make_one_execution():
    barrier = threading.Barrier(4)
    ids, errors = [], []

    def start():
        try:
            barrier.wait(10)
            ids.append(OrchestratorService().start_execution("1", [], key="once"))
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(set(ids)) == 1
    assert Execution.objects.count() == 1


NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("execution_id", [NOWHERE, uuid.UUID(NOWHERE), "not-an-id", 7, None])
def test_unknown_execution(service, execution_id):
    for ask in (
        service.get_pending_calls,
        service.get_result,
        service.process_execution,
        service.resume_execution,
        service.wait,
        lambda id_: service.complete_call(id_, 0, 1),
        lambda id_: service.fail_call(id_, 0, "x"),
    ):
        with pytest.raises(ExecutionNotFound, match=f"There is no execution {execution_id}."):
            ask(execution_id)


def test_result_of_an_unfinished_execution(service):
    execution_id = service.start_execution("1", [])
    with pytest.raises(ExecutionNotCompleted) as caught:
        service.get_result(execution_id)
    assert str(caught.value) == (
        f"Execution {execution_id} has no result: its status is scheduled."
    )
    with pytest.raises(WaitTimeout, match="was still scheduled after 0.05 seconds. Is a worker"):
        service.wait(execution_id, timeout=0.05)
    with pytest.raises(ExecutionNotPaused, match="is scheduled, not paused"):
        service.resume_execution(execution_id)


def test_poll_of_all_lists_the_unfinished(service):
    first = service.start_execution("await add(1, 2)", ["add"], name="sum")
    service.process_execution(first)
    second = service.start_execution("1", [])
    done = service.start_execution("2", [])
    service.process_execution(done)
    assert service.poll() == [
        {
            "execution_id": first,
            "name": "sum",
            "label": "",
            "version": None,
            "status": "waiting",
            "output": None,
            "error": None,
            "pending_calls": [
                {
                    "call_id": 0,
                    "function_name": "add",
                    "args": [1, 2],
                    "kwargs": {},
                    "status": "pending",
                }
            ],
        },
        {
            "execution_id": second,
            "name": "",
            "label": "",
            "version": None,
            "status": "scheduled",
            "output": None,
            "error": None,
            "pending_calls": [],
        },
    ]
    assert service.poll(done)["output"] == 2


@pytest.mark.django_db(transaction=True)
def test_async_twins(service):
    async_to_sync(drive)(service)


async def drive(service):
    execution_id = await service.astart_execution("await approve(1)", ["approve"])
    assert await service.aprocess_execution(execution_id) == "waiting"
    assert len(await service.aget_pending_calls(execution_id)) == 1
    await service.acomplete_call(execution_id, 0, "yes")
    await service.aprocess_execution(execution_id)
    assert (await service.apoll(execution_id))["status"] == "completed"
    assert await service.aget_result(execution_id) == await service.await_(execution_id) == "yes"

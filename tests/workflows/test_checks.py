"""System checks of workflows: each mistake with its place and its remedy, and never in the way of
`migrate` or of a worker."""

import subprocess
import sys
import time

import django
import pytest
from django.core.checks import Error, Warning, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from durable_monty import WORKFLOW_REGISTRY
from durable_monty.exceptions import DuplicateWorkflow, InvalidWorkflow
from tests.documents import ROOT
from tests.workflows.conftest import REFUND

WRONG = REFUND.replace("RATE = 3", "RATE = 3\nimport shutil").replace(
    "lines = [", "print(shutil, Missing)\n    lines = ["
)
TEXTS = [
    "shop_workflows.py:24:11: No module named 'shutil' in the sandbox.",
    "shop_workflows.py:24:19: name 'Missing' is not defined.",
]
HINTS = [
    "Write a function with @register_function that uses it, and call that function.",
    "Assign it first, or give it as an input.",
]


def found(**options):
    ids = ("durable_monty.E011", "durable_monty.W003")
    return [each for each in run_checks(tags=["durable_monty"], **options) if each.id in ids]


def as_said(text, hint):
    # Since 6.1 Django names the databases in every check, not only where it needs them.
    if django.VERSION >= (6, 1):
        return Warning(text, hint=hint, id="durable_monty.W003")
    return Error(text, hint=hint, id="durable_monty.E011")


def test_each_mistake_is_said_with_its_remedy(load):
    load()
    assert found() == []
    load(WRONG)
    assert found() == [as_said(text, hint=hint) for text, hint in zip(TEXTS, HINTS, strict=True)]
    with pytest.raises(SystemCheckError):
        call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_it_is_a_warning_for_commands_that_other_work_depends_on(load, capsys):
    load(WRONG)
    assert found(databases=["default"]) == [
        Warning(text, hint=hint, id="durable_monty.W003")
        for text, hint in zip(TEXTS, HINTS, strict=True)
    ]
    call_command("migrate", verbosity=0, skip_checks=False)
    call_command("durable_check", skip_checks=False)
    assert capsys.readouterr().err.count("durable_monty.W003") == 4


def test_two_of_one_name(load):
    load()
    with pytest.raises(DuplicateWorkflow) as error:
        load(name="other_workflows")
    assert str(error.value) == (
        "Two workflows have the name 'refund': shop_workflows.refund and other_workflows.refund. "
        "Give one of them another name: @workflow(name='...')."
    )
    # The same one, loaded again, takes the place of the first.
    again = load()
    assert WORKFLOW_REGISTRY["refund"] is again.refund


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("''", "The name of a workflow must be a non-empty str: ''."),
        ("7", "The name of a workflow must be a non-empty str: 7."),
        (
            "'a\\n'",
            "The name of a workflow must be printable and at most 200 characters long: 'a\\n'.",
        ),
        (
            "'a' * 201",
            "The name of a workflow must be printable and at most 200 characters long: "
            f"'{'a' * 60}'.",
        ),
    ],
)
def test_names_that_cannot_be_used(load, name, message):
    with pytest.raises(InvalidWorkflow) as error:
        load(REFUND.replace("@workflow\n", f"@workflow(name={name})\n"))
    assert str(error.value) == message


def test_a_name_of_its_own(load):
    refund = load(REFUND.replace("@workflow\n", '@workflow(name="Refund of an order")\n')).refund
    assert WORKFLOW_REGISTRY["Refund of an order"] is refund
    assert refund.closure.entry == "refund"


MANY = """
from durable_monty import workflow
from tests.app.workflows import add, double, echo

RATE = {number}


def total(*prices):
    return sum(prices)


"""
ONE = '''
@workflow
async def flow_{number}(order: int, note: str = "") -> int:
    """Adds, and doubles."""
    amount = await add(order, RATE)
    if total(amount, {number}) > 100:
        amount = await double(amount)
    for _ in range(3):
        try:
            amount = await add(amount, {number})
        except ValueError as error:
            print(f"{{order}}: {{error}} {{note}}")
    return await echo(amount)

'''


def test_a_thousand_workflows_are_found_and_checked_in_three_seconds(load):
    sources = [
        MANY.format(number=module)
        + "\n".join(ONE.format(number=20 * module + number) for number in range(20))
        for module in range(50)
    ]
    begun = time.process_time()
    for module, source in enumerate(sources):
        load(source, f"many_workflows_{module}")
    imported = time.process_time() - begun
    flows = [each for name, each in WORKFLOW_REGISTRY.items() if name.startswith("flow_")]
    assert len(flows) == 1_000
    # Decorating has read no source.
    assert not any("closure" in vars(each) for each in flows)
    begun = time.process_time()
    assert found() == []
    checked = time.process_time() - begun
    assert imported + checked <= 3, (imported, checked)


def test_import_before_the_apps_are_ready():
    """A module with workflows imports no models and no sandbox."""
    script = (
        "import sys\n"
        "from durable_monty import workflow\n"
        "@workflow\n"
        "async def refund(number: int) -> int:\n"
        "    return number\n"
        "heavy = {'pydantic_monty', 'durable_monty.models', 'durable_monty.operations'}\n"
        "print(refund.bind(7), heavy & {*sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{'number': 7} set()\n", "")

"""The check before a start: what it refuses, and what it costs."""

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.checks import Error

from durable_monty import program_check, register_function
from durable_monty.exceptions import HostFault, InvalidInputs, InvalidWorkflow, WrongSource
from durable_monty.models import Execution, Program
from durable_monty.sandbox import Checker, Complaint
from tests.support import run
from tests.test_checks import messages

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent
TYPO = "await add(1, 2)\nawait ad(1, 2)"
TEXT = (
    "Line 2, column 7: 'ad' is not a function that this workflow may call: did you mean 'add'? "
    "It may call: add."
)


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch):
    monkeypatch.setattr(program_check, "_verdicts", {})
    monkeypatch.setattr(program_check, "_judged", {})
    monkeypatch.setattr(program_check, "_not_checked", {})


@pytest.fixture
def checked(monkeypatch):
    """The sources that the checker was asked about."""
    sources = []
    judge = Checker.judge

    def count(self, source, stubs):
        sources.append(source)
        return judge(self, source, stubs)

    monkeypatch.setattr(Checker, "judge", count)
    return sources


def test_typo_in_the_last_line_is_refused_before_anything_is_stored(
    service, django_assert_num_queries
):
    with django_assert_num_queries(0), pytest.raises(WrongSource) as refused:
        service.start_execution(TYPO, ["add"])

    assert str(refused.value) == f"The workflow cannot work.\n{TEXT}"
    (complaint,) = refused.value.complaints
    assert (complaint.line, complaint.column, complaint.rule) == (2, 7, "unknown-name")
    assert not Program.objects.exists()


def test_each_program_is_checked_once(service, checked, register):
    for number in range(3):
        service.start_execution("await add(1, number)", ["add"], {"number": number})
    service.check("await add(1, number)", ["add"], {"number": 1})
    assert checked == ["await add(1, number)"]

    service.start_execution("await add(1, 2)", ["add"])
    service.start_execution("await add(1, 2)", ["add", "echo"])
    assert len(checked) == 3
    register("more", lambda: 1)
    service.start_execution("await add(1, 2)", ["add"])
    assert len(checked) == 3  # another state of the registry, the same stubs
    for _ in range(2):
        with pytest.raises(WrongSource):
            service.start_execution("await add(1, number)", ["add"])
    assert len(checked) == 4


def test_a_function_that_changed_is_checked_again(service, register, checked):
    register("send", lambda letter: None)
    service.start_execution("await send(1)", ["send"])
    register_function("send")(lambda letter, copies: None)

    with pytest.raises(WrongSource, match="No argument provided for required parameter `copies`"):
        service.start_execution("await send(1)", ["send"])
    assert len(checked) == 2


def test_threads_check_one_program(service, checked):
    """Each may judge it, as nobody waits for another's verdict; all find the same."""

    def check(number):
        return service.check(TYPO, ["add"])

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(check, range(12)))
    assert {str(complaint) for complaints in found for complaint in complaints} == {TEXT}
    assert 1 <= len(checked) <= 4


def test_only_so_many_verdicts_are_kept(service, monkeypatch, checked):
    monkeypatch.setattr(program_check, "_KEPT", 2)
    for number in (1, 2, 3, 1):
        service.check(f"await add({number}, 1)", ["add"])
    assert len(checked) == 4
    assert len(program_check._verdicts) == len(program_check._judged) == 2


@pytest.mark.parametrize("fault", [HostFault("it crashed"), KeyError("anything")])
def test_a_fault_of_the_checker_refuses_nothing(service, monkeypatch, log, fault):
    def judge(self, source, stubs):
        raise fault

    monkeypatch.setattr(Checker, "judge", judge)
    for _ in range(3):
        service.start_execution(TYPO, ["add"])

    assert Execution.objects.count() == 3
    assert [record.getMessage() for record in log.records] == [
        f"A workflow starts without having been checked: {fault}"
    ]
    with pytest.raises(type(fault)):
        service.check(TYPO, ["add"])


def test_a_source_that_the_checker_cannot_finish_starts(service, log):
    branches = "if await add(1, 2):\n    x = [x]\nelse:\n    x = (x,)\n" * 300
    service.start_execution("x = 1\n" + branches, ["add"])
    (record,) = log.records
    assert record.getMessage().startswith(
        "A workflow starts without having been checked: the source could not be checked: "
    )


def test_a_source_that_loops_is_not_run_by_its_check(service):
    assert service.check("while True:\n    pass", []) == []


def test_warn(service, durable_settings, log):
    durable_settings(CHECK="warn")
    service.start_execution(TYPO, ["add"])
    assert [record.getMessage() for record in log.records] == [
        f"A workflow starts in spite of complaints:\n{TEXT}"
    ]


def test_off(service, durable_settings, log, checked):
    durable_settings(CHECK="off")
    execution = run(TYPO, ["add"])
    assert execution.error_message == (
        "'ad' is not a function that this workflow may call: did you mean 'add'? It may call: add"
    )
    assert checked == log.records == []


@pytest.mark.parametrize("value", ["errors", None, True, 5, []])
def test_a_wrong_setting(settings, value):
    settings.DURABLE_MONTY = {"CHECK": value}
    assert messages() == [
        Error(
            f"DURABLE_MONTY['CHECK'] is {value!r}.",
            hint="It must be one of 'error', 'warn' and 'off'; its default is 'error'.",
            id="durable_monty.E002",
        )
    ]


def decorated(func):
    @functools.wraps(func)
    def wrapper(*args):
        return func("client", *args)

    return wrapper


def signed(client, number): ...


@pytest.mark.parametrize(
    ("func", "policy", "rule"),
    [
        (signed, {}, "wrong-arguments"),
        (decorated(signed), {}, "missing-argument"),
        (signed, {"executor": "manual"}, "missing-argument"),
    ],
    ids=["plain", "decorated", "answered by people"],
)
def test_arguments_are_refused_where_no_others_can_be_right(service, register, func, policy, rule):
    register("send", func, **policy)
    (complaint,) = service.check("await send(1)", ["send"])
    assert complaint == Complaint(
        1, 7, rule, "No argument provided for required parameter `number` of function `send`"
    )


def test_other_inputs_are_another_program(service):
    service.start_execution("number + 1", [], {"number": 1})
    with pytest.raises(WrongSource, match="name 'number' is not defined. Did you mean 'numbers'?"):
        service.start_execution("number + 1", [], {"numbers": 1})
    with pytest.raises(InvalidInputs):
        service.start_execution("number + 1", [], {"a b": 1})


def test_the_known_execution_of_a_key_is_not_checked(service, register):
    register("send", lambda letter: None)
    first = service.start_execution("await send(1)", ["send"], key="letter 1")
    register_function("send")(lambda letter, copies: None)
    assert service.start_execution("await send(1)", ["send"], key="letter 1") == first


def test_only_another_program_is_checked_in_a_fork(service, checked, durable_settings):
    durable_settings(CHECK="off")
    execution = run(TYPO, ["add"])
    durable_settings(CHECK="error")
    service.restart_execution(execution.pk)
    assert checked == []

    with pytest.raises(WrongSource):
        service.fork_execution(execution.pk, 0, code=f"{TYPO}\n1")


def test_no_source(service):
    with pytest.raises(InvalidWorkflow, match="The workflow source is empty."):
        service.check(" ", [])


@pytest.mark.django_db(transaction=True)
def test_async_twin(service):
    (complaint,) = async_to_sync(service.acheck)(TYPO, ["add"])
    assert str(complaint) == TEXT


FORK = """
import os, sys
import django
django.setup()
from durable_monty import OrchestratorService
from durable_monty.program_check import refuse_wrong

refuse_wrong("1", {}, ())
child = os.fork()
if child == 0:
    refuse_wrong("1", {}, ())  # known
    refuse_wrong("2", {}, ())  # would hang, if the child used the parent's sandbox
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
refuse_wrong("3", {}, ())
os._exit(0)
"""


def test_a_process_that_has_checked_may_fork():
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    # Python itself warns of the fork, from 3.12 on.
    (line,) = [line for line in done.stderr.splitlines() if "WARNING " in line]
    assert line.partition("WARNING ")[2] == (
        "A workflow starts without having been checked: this process was forked from one that had "
        "used the sandbox already; fork first, or start a new process"
    )


def test_a_source_on_which_the_type_checker_crashes_is_parsed(service):
    source = "\u00d6q\U00021e0a\u00c0\x07\x1b|GO:7\u00e6\U000401b5\U00046567"
    (complaint,) = service.check(source, [])
    assert (complaint.line, complaint.rule) == (1, "invalid-syntax")

"""The documents say what is so: their code runs, their tables are the code's."""

import ast
import builtins
import decimal
import enum
import inspect
import os
import re
import subprocess
import sys
import tomllib
import typing
import unittest
from dataclasses import fields

import django.test
import pytest
from django.conf import global_settings
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

import durable_monty
from durable_monty import OrchestratorService, Retry, Worker, conf, exceptions
from durable_monty.context import CallContext
from durable_monty.exceptions import InvalidWorkflow
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Execution, ExecutionStatus
from tests.documents import (
    CONTRIBUTING,
    DOCUMENTS,
    LANGUAGES,
    README,
    ROOT,
    Runner,
    blocks,
    check_command,
    forget_modules,
    of_language,
    tables,
)
from tests.support import run, work
from tests.test_checks import messages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = {document: str(document.relative_to(ROOT)) for document in DOCUMENTS}


def documents(function):
    return pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES.get)(function)


def code(text):
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


# --- code blocks ---


# The page of the client needs a server: a test of its own runs it.
RUN_HERE = [each for each in DOCUMENTS if each.name != "client.md"]


@pytest.mark.parametrize("document", RUN_HERE, ids=NAMES.get)
@pytest.mark.django_db(transaction=True)
def test_code_blocks_run(document, tmp_path, monkeypatch, settings, move_clock):
    if document.name == "http-api.md":
        pytest.importorskip("ninja")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(FUNCTION_REGISTRY, "_functions", dict(FUNCTION_REGISTRY._functions))
    usual = settings.DURABLE_MONTY, settings.Q_CLUSTER

    def check_settings(values):
        for name, value in values.items():
            if name.isupper():
                setattr(settings, name, value)
        assert messages() == []
        settings.DURABLE_MONTY, settings.Q_CLUSTER = usual

    namespace = {"move_clock": move_clock, "run_tests": run_tests, "__name__": "__main__"}
    try:
        Runner(document, tmp_path, namespace, check_settings, work).run()
        if document == README:
            retries_follow_the_policy(move_clock)
        if document.name == "choose-an-executor.md":
            own_executor_works()
    finally:
        forget_modules(tmp_path)


def run_tests(module):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(module).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])


def retries_follow_the_policy(move_clock):
    from shop.payments import CHARGE  # written by the test

    execution = run(CHARGE, ["charge"], {"number": 7})
    for seconds in (11, 22):  # jitter: a tenth
        move_clock(seconds)
        work()
    execution.refresh_from_db()
    assert execution.status == ExecutionStatus.COMPLETED
    assert execution.log == "not enough money\n"
    call = execution.calls.get()
    assert (call.attempt, call.error_type) == (3, "CardDeclined")


def own_executor_works():
    from shop.executors import PoolExecutor  # written by the test

    service = OrchestratorService()
    source = """
from asyncio import gather
try:
    await fail("ValueError", "oh")
except RuntimeError as error:
    told = str(error)
[await gather(add(x, 1), double(x)), told]
"""
    execution_id = service.start_execution(source, ["add", "double", "fail"], {"x": 4})
    executor = PoolExecutor(2)
    assert Worker(service, executor, poll_interval=0.01).run(until_complete=True)
    assert service.get_result(execution_id) == [[5, 8], "ValueError: oh"]
    assert executor.get_stats() == {"jobs": 0}


@documents
def test_blocks_have_a_language_and_shell_commands_exist(document):
    for block in blocks(document):
        assert block.language in {*LANGUAGES, "hidden"}, f"{document.name}:{block.line}"
        if block.language == "shell":
            for line in block.text.replace("\\\n", "").splitlines():
                check_command(line)


@pytest.mark.parametrize("row", tables(CONTRIBUTING)["Commands"], ids=lambda row: row[0])
def test_commands_for_contributors_exist(row):
    check_command(code(row[1])[0])


def test_settings_of_the_project_host_are_yaml():
    yaml = pytest.importorskip("yaml")
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) == 5
    for file in files:
        assert yaml.safe_load(file.read_text()), file


def test_the_settings_diff_is_all_that_a_new_project_needs(tmp_path):
    """A project from Django's own template, with the diff and the app of the first example."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO")},
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }

    def manage(*arguments, script="manage.py"):
        done = subprocess.run(
            [sys.executable, script, *arguments],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    manage("startproject", "site_", ".", script=django_admin())
    settings = tmp_path / "site_" / "settings.py"
    (diff,) = of_language(README, "diff")
    text = settings.read_text()
    for hunk in diff.text.split("\n\n"):
        text = applied(hunk, text)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    example, start = of_language(README, "python")[:2]
    (tmp_path / example.path).write_text(example.text)
    settings.write_text(f'{text}\nINSTALLED_APPS.append("shop")\n')

    assert manage("check", "--database=default", "--fail-level=WARNING") == (
        "System check identified no issues (0 silenced).\n"
    )
    manage("migrate", "--verbosity=0")
    manage("shell", "-c", start.text)
    assert "executor django_q, 4 functions, sqlite database 'default'." in manage(
        "runworker", "--once"
    )
    told = manage("shell", "-c", f"{start.text}\nprint(service.poll(execution_id)['status'])")
    assert told.splitlines()[-1] == "waiting"


def django_admin():
    return str(ROOT / "manage.py")


def applied(hunk, text):
    """`text` with the added lines of a hunk before the context line that follows them."""
    lines = hunk.splitlines()
    added = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
    context = [line[1:] for line in lines if not line.startswith("+")]
    if not context:
        return f"{text}\n{added}"
    # From the opening line on, which stands first; the closing one stands after what is added.
    following = lines[[line.startswith("+") for line in lines].index(True) :]
    closing = next(line[1:] for line in following if not line.startswith("+"))
    head, opening, rest = text.partition(f"{context[0]}\n")
    before, end, after = rest.partition(f"\n{closing}\n")
    assert opening, context[0]
    assert end, closing
    return f"{head}{opening}{before}\n{added}{closing}\n{after}"


# --- links ---


@documents
def test_links_lead_somewhere(document):
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _hash, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        file = (document.parent / path) if path else document
        assert file.exists(), f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# --- the README's tables ---


def test_table_of_settings():
    rows = tables(README)["Settings"]
    documented = {code(name)[0]: ast.literal_eval(code(value)[0]) for name, value, _what in rows}
    defaults = conf.Settings()
    assert documented == {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    assert list(documented) == [field.name for field in fields(defaults)]


def test_table_of_checks():
    package = ROOT / "durable_monty"
    files = [*(package / "checks").glob("*.py"), package / "executors/checks.py"]
    source = "".join(path.read_text() for path in files)
    known = re.findall(r'id="(durable_monty\.\w+)"', source)
    assert [code(row[0])[0] for row in tables(README)["Checks"]] == sorted(set(known))


def test_table_of_methods():
    documented = [code(row[0])[0] for row in tables(README)["OrchestratorService(using=None)"]]
    public = {
        name: method
        for name, method in vars(OrchestratorService).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    sync = {name: method for name, method in public.items() if not is_async(method)}
    assert {signature.partition("(")[0] for signature in documented} == set(sync)
    for name in set(sync) - {"poll"}:
        assert plain_signature(name, sync[name]) in documented
    api = README.read_text().partition("## API")[2].partition("###")[0]
    assert {name for name, method in public.items() if is_async(method)} <= set(code(api))


def is_async(method):
    return inspect.iscoroutinefunction(method)


def plain_signature(name, method):
    signature = inspect.signature(method)
    empty = inspect.Parameter.empty
    parameters = [
        parameter.replace(annotation=empty) for parameter in [*signature.parameters.values()][1:]
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=empty))
    return f"{name}{text}".replace("''", '""')


def test_table_of_what_functions_are_registered_with():
    parameters = inspect.signature(durable_monty.register_function).parameters.values()
    rows = tables(README)["register_function(name=None, *, ...)"]
    assert [code(row[0])[0] for row in rows] == [
        f"{parameter.name}={parameter.default!r}".replace("'", '"')
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    policy = Retry(retry_on=())
    text = ", ".join(f"{field.name}={getattr(policy, field.name)!r}" for field in fields(policy))
    (documented,) = (row[1] for row in rows if code(row[0]) == ["retry=None"])
    assert f"`Retry({text})`" == code_span(documented).replace("(Exception,)", "()")
    assert Retry().retry_on == (Exception,)


def code_span(cell):
    return re.search(r"`[^`]+`", cell)[0]


def test_what_the_current_call_offers():
    text = README.read_text().partition("### current_call()")[2].partition("###")[0]
    named = {item.partition("(")[0] for item in code(text)}
    public = {name for name in dir(CallContext) if not name.startswith("_")}
    assert public | {"CallCancelled", "NoCurrentCall"} == named
    documented = {item for item in code(text) if "=" in item}
    assert documented == {plain_signature("heartbeat", CallContext.heartbeat)}


def test_each_failure_has_its_test():
    files = (ROOT / "tests").rglob("test_*.py")
    defined = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(), flags=re.MULTILINE)
    }
    rows = tables(README)["What fails, what happens"]
    assert len(rows) >= 12
    for what, _happens, test in rows:
        assert set(code(test)) <= defined, what
        assert code(test), what


def test_table_of_options():
    parser = load_command_class("durable_monty", "runworker").create_parser("m", "runworker")
    usual = BaseCommand().create_parser("m", "x")
    ours = {option for action in parser._actions for option in action.option_strings}
    theirs = {option for action in usual._actions for option in action.option_strings}
    documented = [code(row[0])[0].split()[0] for row in tables(README)["manage.py runworker"]]
    assert set(documented) == ours - theirs


def test_names_in_the_text_exist():
    words = set(re.findall(r"`([A-Z]\w+)`", README.read_text()))
    places = (durable_monty, exceptions, builtins, decimal, enum, typing, django.test)
    settings = {*conf.NAMES, "DURABLE_MONTY", "Q_CLUSTER", *vars(global_settings)}
    assert {
        word for word in words - settings if not any(hasattr(place, word) for place in places)
    } == {"CONN_HEALTH_CHECKS", "CONN_MAX_AGE", "DATABASE_URL"}


def test_versions():
    rows = {row[0]: row[1] for row in tables(README)["Adding it to a project"]}
    pythons = [
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line
    ]
    assert rows["Python"] == f"{pythons[0]} to {pythons[-1]}"
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    djangos = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Django :: " in line]
    assert rows["Django"].startswith(f"{djangos[0]} to {djangos[-1]} ")
    (extras,) = re.findall(r"The extras are (.*?);", README.read_text(), flags=re.DOTALL)
    assert code(extras) == list(PROJECT["optional-dependencies"])


# --- what a workflow can use ---


def listed(start):
    text = README.read_text().partition("## What a workflow can use")[2]
    return code(re.search(rf"^- {start}: (.*?)^- ", text, flags=re.MULTILINE | re.DOTALL)[1])


@pytest.mark.django_db
@pytest.mark.parametrize("module", listed("Modules"))
def test_module_that_a_workflow_can_import(module):
    assert run(f"import {module}").status == ExecutionStatus.COMPLETED


REFUSED = {
    "yield": "def numbers():\n    yield 1\nlist(numbers())",
    "async for": "async def read():\n    async for x in y: pass\nawait read()",
    "async with": "async def read():\n    async with y: pass\nawait read()",
    "del": "x = 1\ndel x",
    "@property": "class A:\n    @property\n    def x(self): return 1",
    "import *": "from asyncio import *",
    "asyncio.Queue": "import asyncio\nasyncio.Queue()",
    "from datetime import UTC": "from datetime import UTC",
    "input()": "input()",
    "asyncio.create_task": "import asyncio\nasyncio.create_task(echo(1))",
    "asyncio.wait_for": "import asyncio\nawait asyncio.wait_for(echo(1), 1)",
    "gather": "import asyncio\nawait asyncio.gather(echo(1), return_exceptions=True)",
    "import uuid": "import uuid",
    'open("file")': 'open("file")',
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", listed("Not"))
def test_what_a_workflow_cannot_do(what, durable_settings):
    with pytest.raises(InvalidWorkflow):
        run(REFUSED[what], ["echo"])
    durable_settings(CHECK="off")
    execution = run(REFUSED[what], ["echo"])
    assert execution.status == ExecutionStatus.FAILED
    assert execution.error_message
    assert Execution.objects.count() == 1


def test_pictures_exist_and_are_small():
    names = re.findall(r"example_project/screenshots/[\w-]+\.\w+", README.read_text())
    shown = {ROOT / name for name in names}
    assert shown == set((ROOT / "example_project/screenshots").iterdir())
    assert all(path.stat().st_size < 80 * 1024 for path in shown)

"""The documents say what is so: their code runs, their links and pictures exist."""

import re
import unittest

import pytest

from durable_monty import WORKFLOW_REGISTRY, OrchestratorService, Worker
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import ExecutionStatus
from durable_monty.testing import Durable
from tests.documents import (
    CONTRIBUTING,
    DOCS,
    DOCUMENTS,
    LANGUAGES,
    README,
    ROOT,
    Runner,
    blocks,
    check_command,
    code,
    forget_modules,
    tables,
)
from tests.support import run, work
from tests.test_checks import messages

NAMES = {document: str(document.relative_to(ROOT)) for document in DOCUMENTS}


def documents(function):
    return pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES.get)(function)


# --- code blocks ---


# The page of the client needs a server, the tutorial a project: tests of their own run them.
RUN_HERE = [each for each in DOCUMENTS if each.name not in ("client.md", "first-workflow.md")]


@pytest.mark.parametrize("document", RUN_HERE, ids=NAMES.get)
@pytest.mark.django_db(transaction=True)
def test_code_blocks_run(document, tmp_path, monkeypatch, settings, request):
    if document.name == "http-api.md":
        pytest.importorskip("ninja")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(FUNCTION_REGISTRY, "_functions", dict(FUNCTION_REGISTRY._functions))
    monkeypatch.setattr(WORKFLOW_REGISTRY, "_workflows", dict(WORKFLOW_REGISTRY._workflows))
    usual = settings.DURABLE_MONTY, settings.Q_CLUSTER

    def check_settings(values):
        for name, value in values.items():
            if name.isupper():
                setattr(settings, name, value)
        assert messages() == []
        settings.DURABLE_MONTY, settings.Q_CLUSTER = usual

    move_clock, durable = request.getfixturevalue("move_clock"), Durable()
    request.addfinalizer(durable.close)
    namespace = {"move_clock": move_clock, "durable": durable, "run_tests": run_tests}
    namespace |= {"__name__": "__main__", "monkeypatch": monkeypatch}
    try:
        Runner(document, tmp_path, namespace, check_settings, work).run()
        if document.name == "retries-and-time-outs.md":
            retries_follow_the_policy(move_clock)
        if document.name == "write-an-executor.md":
            own_executor_works()
    finally:
        forget_modules(tmp_path)


def run_tests(module, count):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromName(module).run(result)
    assert (result.testsRun, result.errors, result.failures) == (count, [], [])


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


def test_pictures_exist_and_are_small():
    texts = "".join(document.read_text() for document in DOCUMENTS)
    names = re.findall(r"example_project/screenshots/[\w-]+\.\w+", texts)
    shown = {ROOT / name for name in names}
    assert shown == set((ROOT / "example_project/screenshots").iterdir())
    assert all(path.stat().st_size < 80 * 1024 for path in shown)


def test_every_page_is_in_the_index():
    index = DOCS / "index.md"
    linked = {
        (DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index.read_text())
    }
    assert {*DOCS.rglob("*.md")} - {index} <= linked


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 200
    assert len(text.split()) <= 1600

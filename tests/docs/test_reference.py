"""The tables of the documentation are the code's."""

import ast
import builtins
import decimal
import enum
import inspect
import re
import tomllib
import typing
from dataclasses import fields

import django.test
import pytest
from django.apps import apps
from django.conf import global_settings
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

import durable_monty
from durable_monty import OrchestratorService, Retry, conf, exceptions, testing
from durable_monty.context import CallContext
from durable_monty.executors import remote
from durable_monty.executors.loading import SHORT_NAMES
from tests.documents import DOCS, README, ROOT, code, tables

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REFERENCE = DOCS / "reference"
INSTALL = DOCS / "how-to" / "install.md"
OF_OTHERS = {"CONN_HEALTH_CHECKS", "CONN_MAX_AGE", "DATABASE_URL", "CMD", "OrmQ", "Task"}
OF_ENGINES = {
    "aws-lambda", "celery", "client", "django-tasks", "http-api", "http-functions", "modal", "rq",
    "django-q", "webhooks", "events",
}  # fmt: skip


def test_table_of_settings():
    rows = tables(REFERENCE / "settings.md")["DURABLE_MONTY"]
    documented = {code(name)[0]: ast.literal_eval(code(value)[0]) for name, value, _what in rows}
    defaults = conf.Settings()
    assert documented == {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    assert list(documented) == [field.name for field in fields(defaults)]


def test_table_of_checks():
    package = ROOT / "durable_monty"
    files = [*(package / "checks").glob("*.py"), package / "executors/checks.py"]
    source = "".join(path.read_text() for path in files)
    known = re.findall(r'id="(durable_monty\.\w+)"', source)
    rows = tables(REFERENCE / "checks.md")["System checks"]
    assert [code(row[0])[0] for row in rows] == sorted(set(known))


def test_table_of_methods():
    rows = tables(REFERENCE / "service.md")["OrchestratorService(using=None)"]
    documented = [code(row[0])[0] for row in rows]
    public = {
        name: method
        for name, method in inspect.getmembers(OrchestratorService)
        if inspect.isfunction(method) and not name.startswith("_")
    }
    sync = {name: method for name, method in public.items() if not is_async(method)}
    assert {signature.partition("(")[0] for signature in documented} == set(sync)
    for name in set(sync) - {"poll"}:
        assert plain_signature(name, sync[name]) in documented
    introduction = (REFERENCE / "service.md").read_text().partition("## ")[0].split("```")[-1]
    assert {name for name, method in public.items() if is_async(method)} <= set(code(introduction))


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
    rows = tables(REFERENCE / "functions.md")["register_function(name=None, *, ...)"]
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
    text = (REFERENCE / "functions.md").read_text()
    text = text.partition("## current_call()")[2].partition("`execution:call_id`")[0]
    named = {item.partition("(")[0] for item in code(text)}
    public = {name for name in dir(CallContext) if not name.startswith("_")}
    assert public | {"CallCancelled", "NoCurrentCall", "current_call"} == named
    documented = {item for item in code(text) if "=" in item}
    assert documented == {plain_signature("heartbeat", CallContext.heartbeat)}


def test_each_failure_has_its_test():
    files = (ROOT / "tests").rglob("test_*.py")
    defined = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(), flags=re.MULTILINE)
    }
    rows = tables(DOCS / "explanation/guarantees.md")["What happens when something fails"]
    assert len(rows) >= 12
    for what, _happens, test in rows:
        assert set(code(test)) <= defined, what
        assert code(test), what


@pytest.mark.parametrize("command", ["runworker", "durable_check", "durable_doctor"])
def test_table_of_options(command):
    parser = load_command_class("durable_monty", command).create_parser("m", command)
    usual = BaseCommand().create_parser("m", "x")
    ours = {option for action in parser._actions for option in action.option_strings}
    theirs = {option for action in usual._actions for option in action.option_strings}
    rows = tables(REFERENCE / "commands.md")[f"manage.py {command}"]
    assert {code(row[0])[0].split()[0] for row in rows} == ours - theirs


def test_table_of_executors():
    rows = tables(DOCS / "how-to/choose-an-executor.md")["How to choose an executor"]
    assert {name for row in rows for name in code(row[0])} == {*SHORT_NAMES, "InlineExecutor"}


def test_table_of_permissions():
    rows = tables(REFERENCE / "permissions.md")["Permissions"]
    documented = [name for row in rows for name in code(row[0])]
    own = {
        f"durable_monty.{codename}"
        for model in apps.get_app_config("durable_monty").get_models()
        for codename, _name in model._meta.permissions
    }
    assert sorted(documented) == sorted(own)


@pytest.mark.parametrize("document", [README, *DOCS.rglob("*.md")], ids=lambda path: path.stem)
def test_names_in_the_text_exist(document):
    """Names of classes and settings, in text and tables; pages of engines name theirs, too."""
    if document.stem in OF_ENGINES:
        return
    words = set(re.findall(r"`([A-Z]\w+)`", document.read_text()))
    places = (durable_monty, exceptions, testing, remote, builtins, decimal, enum, typing)
    places = (*places, django.test)
    settings = {*conf.NAMES, "DURABLE_MONTY", "Q_CLUSTER", *vars(global_settings)}
    unknown = {word for word in words - settings if not any(hasattr(it, word) for it in places)}
    assert unknown <= OF_OTHERS


def test_versions():
    rows = {row[0]: row[1] for row in tables(INSTALL)["Install the package"]}
    pythons = [
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line
    ]
    assert rows["Python"] == f"{pythons[0]} to {pythons[-1]}"
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    djangos = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Django :: " in line]
    assert rows["Django"].startswith(f"{djangos[0]} to {djangos[-1]} ")
    (extras,) = re.findall(r"The extras are (.*?);", INSTALL.read_text(), flags=re.DOTALL)
    assert sorted(code(extras)) == sorted(PROJECT["optional-dependencies"])

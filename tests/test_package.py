"""The package as it is imported: its names, its exceptions, its place beside other apps."""

import importlib
import inspect
import subprocess
import sys
import typing
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db.models import ForeignKey

import durable_monty
from durable_monty import conf, exceptions, executor, executors, models, service, worker
from durable_monty.executors import base, local

EXCEPTIONS = [
    value
    for value in vars(exceptions).values()
    if inspect.isclass(value) and value.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("name", durable_monty.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(durable_monty, name) is not None
    assert name in dir(durable_monty)


def test_the_lazy_names_are_the_public_ones():
    assert {*durable_monty._PLACES, "__version__"} == {*durable_monty.__all__}
    namespace = {}
    exec("from durable_monty import *", namespace)
    assert {*durable_monty.__all__} <= namespace.keys()


def test_type_checkers_see_the_same_names():
    source = Path(durable_monty.__file__).read_text()
    seen = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    for name, place in durable_monty._PLACES.items():
        assert any(
            line.startswith(f"    from durable_monty.{place} import ")
            and name in line.partition(" import ")[2].split(", ")
            for line in seen.splitlines()
        ), name


def test_unknown_name():
    with pytest.raises(AttributeError) as raised:
        durable_monty.Orchestrator  # noqa: B018
    assert str(raised.value) == "module 'durable_monty' has no attribute 'Orchestrator'"
    with pytest.raises(
        ImportError, match="cannot import name 'Orchestrator' from 'durable_monty'"
    ):
        exec("from durable_monty import Orchestrator")


def test_import_paths_of_the_alpha():
    assert executor.Executor is durable_monty.Executor is base.Executor is executors.Executor
    assert executor.LocalExecutor is durable_monty.LocalExecutor is local.LocalExecutor
    assert service.OrchestratorService is durable_monty.OrchestratorService
    assert worker.Worker is durable_monty.Worker
    for name in ("Call", "CallStatus", "Execution", "ExecutionStatus"):
        assert getattr(models, name) is getattr(durable_monty, name)


def test_import_without_django_settings():
    """Build tools and type checkers import the package; settings are none of their business."""
    code = """
import sys, durable_monty
assert "django" not in sys.modules, "django was imported"
print(durable_monty.__version__)
from durable_monty import register_function

@register_function("greet")
def greet(name): return f"hello {name}"

assert greet("you") == "hello you"
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(Path(durable_monty.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"{durable_monty.__version__}\n",
        "",
    )


def test_the_app():
    config = apps.get_app_config("durable_monty")
    assert (config.name, config.label) == ("durable_monty", "durable_monty")
    assert str(config.verbose_name) == "Durable workflows"
    assert {model.__name__ for model in config.get_models()} == {
        "ApiKey", "Attempt", "Call", "Execution", "Program", "Snapshot", "WorkerProcess",
        "WorkflowVersion",
    }  # fmt: skip
    for model in config.get_models():
        assert model._meta.default_permissions == ("view",)
        assert model.__doc__
        assert not model.__doc__.startswith(f"{model.__name__}(")


def test_a_project_may_have_models_of_the_same_names():
    ours = {model.__name__ for model in apps.get_app_config("durable_monty").get_models()}
    theirs = {model.__name__ for model in apps.get_app_config("app").get_models()}
    assert ours - theirs == set()
    assert "Worker" in theirs
    # A clash of reverse names would be an error (fields.E302 to E305).
    out = StringIO()
    call_command("check", stdout=out, stderr=out)
    assert out.getvalue() == "System check identified no issues (0 silenced).\n"


def test_nothing_is_added_to_models_of_others():
    for model in apps.get_app_config("durable_monty").get_models():
        for field in model._meta.get_fields():
            if not isinstance(field, ForeignKey):
                continue
            if field.related_model._meta.app_label != "durable_monty":
                assert field.remote_field.related_name == "+", field
                assert field.null, field


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "durable_monty", check=True, verbosity=0)


@pytest.mark.django_db
@pytest.mark.parametrize("primary_key", ["AutoField", "BigAutoField"])
def test_no_migration_depends_on_the_projects_primary_keys(settings, primary_key):
    settings.DEFAULT_AUTO_FIELD = f"django.db.models.{primary_key}"
    call_command("makemigrations", "durable_monty", check=True, verbosity=0)


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_every_exception_has_the_common_base(exception):
    assert issubclass(exception, exceptions.DurableMontyError)


def facts(exception):
    """An argument for each parameter of an exception's constructor."""
    samples = {int: 3, float: 2.5, str: "text", object: "0190", typing.Any: "0190"}
    hints = typing.get_type_hints(exception.__init__)
    parameters = [*inspect.signature(exception.__init__).parameters][1:]
    # With a text of its own an error is not the message's owner.
    names = [name for name in parameters if name != "message"]
    return {
        name: next((value for kind, value in samples.items() if hints[name] is kind), None)
        or (["one", "two"] if "Iterable" in str(hints[name]) else 7)
        for name in names
    }


@pytest.mark.parametrize(
    "exception",
    [cls for cls in EXCEPTIONS if "__init__" in vars(cls)],
    ids=lambda cls: cls.__name__,
)
def test_exceptions_take_facts_and_own_their_message(exception):
    given = facts(exception)
    raised = exception(**given)
    assert str(raised)
    for name, value in given.items():
        if name not in ("why", "recorded", "replayed", "first", "second"):
            kept = getattr(raised, name)
            assert kept == (tuple(value) if isinstance(value, list) else value), name
    for value in given.values():
        for text in value if isinstance(value, list) else [value]:
            assert str(text) in str(raised), (text, str(raised))


def test_builtin_bases_by_which_callers_may_catch_them():
    assert issubclass(exceptions.ExecutionNotFound, LookupError)
    assert issubclass(exceptions.CallNotFound, LookupError)
    assert issubclass(exceptions.WaitTimeout, TimeoutError)
    for name in ("UnstorableValue", "CorruptValue", "InvalidWorkflow"):
        assert issubclass(getattr(exceptions, name), ValueError)


def test_settings_are_read_again_when_they_change(settings):
    assert conf.current().BATCH_SIZE == 64
    settings.DURABLE_MONTY = {"BATCH_SIZE": 7, "NO_SUCH": 1}
    assert conf.current().BATCH_SIZE == 7
    settings.DURABLE_MONTY = {}
    assert conf.current() == conf.Settings()


# What needs an extra that may not be installed.
_WITH_EXTRAS = ("durable_monty.api", "durable_monty.client", "durable_monty.executors.")


def test_modules_below_the_app_import_by_themselves():
    root = Path(durable_monty.__file__).parent
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if "migrations" not in parts:
            name = ".".join(parts).removesuffix(".__init__")
            try:
                importlib.import_module(name)
            except (ModuleNotFoundError, ImproperlyConfigured) as exc:
                is_ours = str(getattr(exc, "name", "")).startswith("durable_monty")
                if is_ours or not name.startswith(_WITH_EXTRAS):
                    raise


def test_only_the_sandbox_imports_monty():
    root = Path(durable_monty.__file__).parent
    importers = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if "from pydantic_monty" in path.read_text() or "import pydantic_monty" in path.read_text()
    }
    assert importers == {"sandbox"}

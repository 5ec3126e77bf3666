"""Registering functions, finding them, and naming them in a start."""

import importlib
import sys
from pathlib import Path
from unittest import mock

import pytest
from django.apps import apps

from durable_monty import functions, register_function
from durable_monty.discovery import autodiscover
from durable_monty.exceptions import DuplicateFunction, FunctionError, UnknownFunction
from durable_monty.functions import (
    FUNCTION_REGISTRY,
    FunctionRegistry,
    RegisteredFunction,
    resolve_functions,
)
from tests.app import plain, workflows
from tests.support import run


@pytest.fixture
def registry(monkeypatch):
    """An empty registry in place of the real one."""
    empty = FunctionRegistry()
    monkeypatch.setattr(functions, "FUNCTION_REGISTRY", empty)
    return empty


@pytest.fixture
def kept_registry(monkeypatch):
    """The real one; what is added to it is forgotten."""
    monkeypatch.setattr(FUNCTION_REGISTRY, "_functions", dict(FUNCTION_REGISTRY._functions))
    return FUNCTION_REGISTRY


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def load(name, source):
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        written.append(name)
        return importlib.import_module(name)

    yield load
    for name in written:
        sys.modules.pop(name, None)


def unknown(item):
    with pytest.raises(UnknownFunction) as raised:
        resolve_functions([item])
    return str(raised.value)


# --- registering ---


def test_decorator_with_a_name(registry):
    @register_function("charge")
    def charge_card(amount):
        return amount + 1

    assert charge_card(1) == 2
    assert dict(registry) == {"charge": RegisteredFunction("charge", charge_card, "default")}
    assert registry["charge"](amount=4) == 5
    assert registry["charge"].place.endswith("test_decorator_with_a_name.<locals>.charge_card")


def test_decorator_without_a_name(registry):
    @register_function
    def bare(): ...

    @register_function()
    def called(): ...

    assert {name: entry.func for name, entry in registry.items()} == {
        "bare": bare,
        "called": called,
    }


def test_decorator_with_an_executor(registry):
    @register_function(executor="manual")
    def approve(): ...

    @register_function("encode", executor="gpu")
    def encode_video(): ...

    assert [(entry.name, entry.executor) for entry in registry.values()] == [
        ("approve", "manual"),
        ("encode", "gpu"),
    ]


def test_async_function_runs_to_its_end(registry):
    @register_function
    async def double(x):
        return 2 * x

    assert registry["double"](4) == 8


def test_two_functions_of_one_name(registry):
    @register_function("send")
    def send_mail(): ...

    with pytest.raises(DuplicateFunction) as raised:

        @register_function("send")
        def send_letter(): ...

    place = f"{__name__}.test_two_functions_of_one_name.<locals>"
    assert str(raised.value) == (
        f"The function name 'send' is registered twice: in {place}.send_mail and in "
        f"{place}.send_letter. Give one of them another name: @register_function('...')."
    )
    assert registry["send"].func is send_mail


def test_module_that_is_reloaded(registry, module):
    source = "from durable_monty import register_function\n\n@register_function\ndef send():\n    "
    loaded = module("shop_tasks", f"{source}return 1\n")
    old = loaded.send
    importlib.reload(loaded)
    assert registry["send"].func is loaded.send is not old
    assert len(registry) == 1


def test_one_function_under_two_names(registry):
    def send(): ...

    register_function("send_now")(send)
    register_function("send_later")(send)
    assert set(registry) == {"send_now", "send_later"}


@pytest.mark.parametrize("name", ["send-mail", "a.b", "1st", "class", "__send", "två ord"])
def test_name_that_no_workflow_can_call(registry, name):
    with pytest.raises(FunctionError) as raised:
        register_function(name)(lambda: None)
    assert str(raised.value) == (
        f"{name!r} cannot be called in a workflow: use a plain Python name, such as "
        "'send_invoice'."
    )
    assert not registry


def test_function_without_a_name_of_its_own(registry):
    with pytest.raises(FunctionError, match=r"^'<lambda>' cannot be called in a "):
        register_function(lambda: None)


@pytest.mark.parametrize("name", ["print", "sum", "open", "ValueError"])
def test_name_of_a_builtin(registry, name):
    with pytest.raises(FunctionError) as raised:
        register_function(name)(lambda: None)
    assert str(raised.value) == (
        f"{name!r} is a Python builtin, which a workflow calls itself: use another name."
    )


def test_what_executors_serve(registry):
    register_function("a")(lambda: None)
    register_function("b", executor="manual")(lambda: None)
    register_function("c", executor="gpu")(lambda: None)
    register_function("d")(lambda: None)
    assert registry.served_by(["default", "local"]) == ["a", "d"]
    assert registry.served_by(["gpu"]) == ["c"]
    assert registry.served_by(["default", "gpu"]) == ["a", "c", "d"]
    assert registry.served_by([]) == []


def test_registry_is_a_mapping(registry):
    register_function("a")(workflows.add)
    assert "a" in registry
    assert list(registry) == ["a"]
    assert registry.named(workflows.add) is registry["a"]
    assert registry.named(workflows.double) is None
    registry.remove("a")
    assert len(registry) == 0


# --- what stands in a function's place ---

SHOP = """
from functools import wraps
from durable_monty import register_function

def plain(func):
    return Wrapper(func)

class Wrapper:
    def __init__(self, func):
        self.func = func
    def __call__(self):
        return "the outer decorator's"

def wrapping(func):
    @wraps(func)
    def outer():
        return "the outer decorator's"
    return outer

@register_function
def charge():
    return "the real one"

@register_function
async def acharge():
    return "the real one"

@plain
@register_function
def queued():
    return "the real one"

@wrapping
@register_function
def wrapped():
    return "the real one"
"""


@pytest.mark.parametrize("is_discovered", [True, False])
@pytest.mark.parametrize("name", ["charge", "acharge", "queued", "wrapped"])
def test_function_that_a_test_replaces(registry, module, durable_settings, name, is_discovered):
    module("shop_workflows", SHOP)
    if is_discovered:
        durable_settings(AUTODISCOVER=None)
        autodiscover()
    elif name == "queued":
        pytest.skip("nothing tells it from a replacement")
    entry = registry[name]
    assert entry() == "the real one"
    with mock.patch(f"shop_workflows.{name}", return_value="the mock's") as replaced:
        assert entry() == "the mock's"
        assert resolve_functions([replaced]) == {name: name}
    replaced.assert_called_once_with()
    assert entry() == "the real one"


def test_function_that_a_plain_function_replaces(registry, module, monkeypatch):
    shop = module("shop_workflows", SHOP)
    monkeypatch.setattr(shop, "charge", lambda: "another")
    assert registry["charge"]() == "another"
    monkeypatch.delattr(shop, "charge")
    assert registry["charge"]() == "the real one"


# --- finding ---


def test_workflows_modules_of_installed_apps_are_imported(registry, monkeypatch):
    for name in ("tests.app.workflows", "example_project.videos.workflows"):
        monkeypatch.delitem(sys.modules, name)
    autodiscover()
    assert {"add", "encode_video"} <= set(registry)


def test_another_module_name(registry, durable_settings, module, monkeypatch):
    monkeypatch.setattr(apps.get_app_config("app").module, "__path__", [])
    before = set(registry)
    durable_settings(AUTODISCOVER="jobs_of_nobody")
    autodiscover()
    assert set(registry) == before

    monkeypatch.undo()
    monkeypatch.setattr(functions, "FUNCTION_REGISTRY", registry)
    durable_settings(AUTODISCOVER="plain")
    monkeypatch.delitem(sys.modules, "tests.app.plain")
    autodiscover()
    assert "tests.app.plain" in sys.modules
    assert "no @register_function('x') was found in the plain.py of an installed app." in unknown(
        "x"
    )


def test_no_autodiscovery(registry, durable_settings, monkeypatch):
    monkeypatch.delitem(sys.modules, "tests.app.workflows")
    durable_settings(AUTODISCOVER=None)
    autodiscover()
    assert "tests.app.workflows" not in sys.modules
    assert unknown("x") == (
        "The function 'x' is not available: no @register_function('x') was found in a module "
        "that workers import. Known: none."
    )


def test_function_modules(registry, durable_settings):
    durable_settings(AUTODISCOVER=None, FUNCTION_MODULES=["tests.app.plain"])
    autodiscover()
    # Neither what it imports, nor its classes, nor what is private.
    assert {name: entry.func for name, entry in registry.items()} == {
        "tests.app.plain.shorten": plain.shorten,
        "tests.app.plain.lengthen": plain.lengthen,
    }
    autodiscover()


@pytest.mark.parametrize(
    "path",
    ["tests.app.nothing", "nowhere.functions", "tests.app.plain.shorten", "", ".plain", 1],
)
def test_function_module_that_is_not_there_is_left_to_the_check(registry, durable_settings, path):
    durable_settings(AUTODISCOVER=None, FUNCTION_MODULES=[path, "tests.app.plain"])
    autodiscover()
    assert set(registry) == {"tests.app.plain.shorten", "tests.app.plain.lengthen"}


def test_function_module_that_lacks_another_raises_as_it_does(registry, durable_settings, module):
    module("shop_functions", "")
    del sys.modules["shop_functions"]
    path = Path(sys.path[0]) / "shop_functions.py"
    path.write_text("import a_library_that_is_missing\n")
    durable_settings(AUTODISCOVER=None, FUNCTION_MODULES=["shop_functions"])
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        autodiscover()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given",
    [["tests.app.plain.shorten", "tests.app.plain.lengthen"], [plain.shorten, plain.lengthen]],
    ids=["paths", "objects"],
)
def test_functions_of_modules_run(service, kept_registry, durable_settings, given):
    durable_settings(FUNCTION_MODULES=["tests.app.plain"])
    autodiscover()
    execution = run("await lengthen(await shorten('abcdef', length=2))", given)
    assert service.get_result(execution.pk) == "abab"
    assert execution.program.functions == {
        "shorten": "tests.app.plain.shorten",
        "lengthen": "tests.app.plain.lengthen",
    }


# --- naming ---


def test_names_paths_and_objects():
    expected = {"add": "add", "double": "double"}
    assert resolve_functions(["add", "double"]) == expected
    assert resolve_functions(["tests.app.workflows.add", workflows.double]) == expected
    assert resolve_functions(["add", workflows.add, "tests.app.workflows.add"]) == {"add": "add"}
    assert resolve_functions([]) == {}


def test_decorated_name_wins_over_the_path_of_an_object(kept_registry, durable_settings):
    durable_settings(FUNCTION_MODULES=["tests.app.workflows"])
    autodiscover()
    assert "tests.app.workflows.add" in kept_registry
    assert resolve_functions([workflows.add]) == {"add": "add"}


def test_two_functions_that_a_workflow_would_call_alike(registry):
    registry.add(RegisteredFunction("shop.tasks.send", workflows.add))
    registry.add(RegisteredFunction("mail.tasks.send", workflows.double))
    with pytest.raises(FunctionError) as raised:
        resolve_functions(["shop.tasks.send", "mail.tasks.send"])
    assert str(raised.value) == (
        "Two functions would be called 'send' in the workflow: shop.tasks.send and "
        "mail.tasks.send."
    )


def test_string_in_place_of_a_list():
    with pytest.raises(FunctionError) as raised:
        resolve_functions("add")
    assert str(raised.value) == (
        "external_functions must be a list of functions, not the string 'add'."
    )


def test_unknown_name(registry):
    register_function("double")(workflows.double)
    register_function("add")(workflows.add)
    assert unknown("doubel") == (
        "The function 'doubel' is not available: did you mean 'double'? no "
        "@register_function('doubel') was found in the workflows.py of an installed app. "
        "Known: add, double."
    )
    assert unknown("publish") == (
        "The function 'publish' is not available: no @register_function('publish') was found in "
        "the workflows.py of an installed app. Known: add, double."
    )


@pytest.mark.parametrize("item", ["tests.app.plain.shorten", plain.shorten])
def test_function_that_workers_do_not_load(item):
    assert unknown(item) == (
        "The function 'tests.app.plain.shorten' is not available: workers do not load it. "
        "Decorate it with @register_function in the workflows.py of an installed app, or add "
        "'tests.app.plain' to DURABLE_MONTY['FUNCTION_MODULES']."
    )


def test_path_is_not_imported_to_look_whether_it_exists():
    assert "workers do not load it" in unknown("antigravity.fly")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "item", ["__import__", "builtins.__import__", "os.system", print, sys.exit]
)
def test_what_was_not_registered_is_refused(item):
    assert "is not available: " in unknown(item)


def test_object_that_is_not_a_function():
    assert unknown(plain.Shorter().shorten).startswith(
        "The function 'tests.app.plain.Shorter.shorten' is not available: workers do not load it."
    )


def test_name_must_fit_its_column():
    with pytest.raises(FunctionError, match="has 201 characters; at most 200 can be stored"):
        register_function("x" * 201)(print)


def test_the_registry_takes_functions_by_name():
    FUNCTION_REGISTRY["greet"] = lambda name: f"hello {name}"
    try:
        assert FUNCTION_REGISTRY["greet"]("Ada") == "hello Ada"
        with pytest.raises(FunctionError, match="cannot be called in a workflow"):
            FUNCTION_REGISTRY["two words"] = print
    finally:
        FUNCTION_REGISTRY.remove("greet")

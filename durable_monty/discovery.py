"""Finds a project's functions: in the workflow modules of its apps, and in `FUNCTION_MODULES`.

Discovery runs before the system checks. So it skips settings with a wrong value, which the checks
report, and raises only the exceptions of the project's own modules.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import module_has_submodule

from durable_monty import conf, functions


def autodiscover() -> None:
    """Imports the workflow modules of all installed apps and those of `FUNCTION_MODULES`."""
    name = conf.current().AUTODISCOVER
    if isinstance(name, str) and name:
        for app in apps.get_app_configs():
            if app.module is not None and module_has_submodule(app.module, name):
                import_module(f"{app.name}.{name}")
    for path in _function_modules():
        if _spec(path) is not None:
            for function_name, func in inspect.getmembers(import_module(path), inspect.isfunction):
                if func.__module__ == path and not function_name.startswith("_"):
                    entry = functions.RegisteredFunction(f"{path}.{function_name}", func)
                    functions.FUNCTION_REGISTRY.add(entry)
    for entry in functions.FUNCTION_REGISTRY.values():
        entry.note_place()


def missing_modules() -> list[str]:
    """Returns the modules of `FUNCTION_MODULES` that do not exist."""
    return [path for path in _function_modules() if _spec(path) is None]


def modules_outside_apps() -> list[str]:
    """Returns the workflow modules next to the settings that are in no installed app, so that no
    worker imports them."""
    name = conf.current().AUTODISCOVER
    place = getattr(settings, "SETTINGS_MODULE", None)
    if not (isinstance(name, str) and name and place):
        return []
    installed = {app.name for app in apps.get_app_configs()}
    found = []
    package = place.rpartition(".")[0]
    while True:
        module = f"{package}.{name}" if package else name
        spec = None if package in installed or module in _function_modules() else _spec(module)
        origin = spec.origin if spec is not None and spec.has_location else None
        if origin is not None and b"durable_monty" in Path(origin).read_bytes():
            found.append(module)
        if not package:
            return found
        package = package.rpartition(".")[0]


def _function_modules() -> list[str]:
    paths = conf.current().FUNCTION_MODULES
    if not isinstance(paths, list | tuple):
        return []
    return [path for path in paths if isinstance(path, str)]


def _spec(path: str) -> ModuleSpec | None:
    """Returns the spec, or None if there is no such module. Raises what its packages raise."""
    try:
        return find_spec(path)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{path}.".startswith(f"{exc.name}."):
            raise  # a package above it lacks a module
        return None
    except (ImportError, ValueError):  # a relative path, or an empty one
        return None

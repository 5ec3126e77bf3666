from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from durable_monty import conf
from durable_monty.executors.base import Executor

SHORT_NAMES = {
    "django_q": "durable_monty.executors.django_q.DjangoQExecutor",
    "local": "durable_monty.executors.local.LocalExecutor",
    "rq": "durable_monty.executors.rq.RQExecutor",
    "celery": "durable_monty.executors.celery.CeleryExecutor",
    "django_tasks": "durable_monty.executors.django_tasks.DjangoTasksExecutor",
    "http": "durable_monty.executors.http.HttpExecutor",
    "aws_lambda": "durable_monty.executors.aws_lambda.LambdaExecutor",
    "modal": "durable_monty.executors.modal.ModalExecutor",
}
# This option is not for the class: it is the secret of the executor's jobs at the webhook.
WEBHOOK_SECRET = "webhook_secret"  # noqa: S105  (its name)
_EXTRAS = ("rq", "celery", "django_tasks", "http", "aws_lambda", "modal")


def executor_class(name: str) -> type[Executor]:
    """Returns the class of a short name or dotted path. Raises `ImproperlyConfigured`."""
    try:
        found = import_string(_path(name))
    except (ImportError, TypeError, ValueError) as exc:  # a relative path raises the last two
        extra = next((extra for extra in _EXTRAS if _path(extra) == _path(name)), None)
        missing = exc.name or "" if isinstance(exc, ModuleNotFoundError) else "durable_monty"
        if extra is not None and not missing.startswith("durable_monty"):
            raise ImproperlyConfigured(
                f"The executor {name!r} needs {missing}, which is not installed: "
                f"pip install 'django-durable-monty[{extra}]'."
            ) from exc
        known = ", ".join(SHORT_NAMES)
        raise ImproperlyConfigured(
            f"There is no executor {name!r}: use {known}, or the dotted path of a class ({exc})."
        ) from exc
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise ImproperlyConfigured(f"{name!r} is not a subclass of Executor.")
    if found.__abstractmethods__:
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise ImproperlyConfigured(f"{name!r} does not define {lacking}.")
    return found


def make_executor(name: str, workers: int | None = None) -> Executor:
    """Returns an executor with its options of the setting `EXECUTORS`. `workers`, the number of
    calls that run at a time, is the first argument of its class. Raises `ImproperlyConfigured`.
    """
    found = executor_class(name)
    options = dict(options_of(name))
    options.pop(WEBHOOK_SECRET, None)
    if workers is not None:
        options[next(iter(inspect.signature(found).parameters))] = workers
    try:
        return found(**options)
    except (TypeError, ValueError) as exc:
        # A text may be a secret.
        shown = {
            name: value if isinstance(value, int | float) or value is None else "..."
            for name, value in options.items()
        }
        raise ImproperlyConfigured(
            f"The executor {name!r} does not take {shown} (DURABLE_MONTY['EXECUTORS']): {exc}."
        ) from exc


def configured_executors() -> list[Executor]:
    """Returns the executors of the settings. Raises `ImproperlyConfigured`."""
    return [make_executor(name) for name in configured_names()]


def configured_names() -> list[str]:
    """Returns the names in the settings `EXECUTOR` and `EXECUTORS`, each executor once."""
    default = conf.current().EXECUTOR
    others = [name for name in conf.current().EXECUTORS if _path(name) != _path(default)]
    return [default, *others]


def options_of(name: str) -> Mapping[str, Any]:
    """Returns the options of an executor in the setting `EXECUTORS`."""
    configured = conf.current().EXECUTORS
    return next((options for key, options in configured.items() if _path(key) == _path(name)), {})


def executor_name(name: str) -> str:
    """Returns the `name` of an executor, by its short name or dotted path. Raises
    `ImproperlyConfigured`."""
    # The package's own classes are not imported: their libraries may not be installed here.
    short = next((short for short in SHORT_NAMES if _path(short) == _path(name)), None)
    return executor_class(name).name if short is None else short


def _path(name: str) -> str:
    return SHORT_NAMES.get(name, name)

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from durable_monty.executors.base import Executor

SHORT_NAMES = {
    "django_q": "durable_monty.executors.django_q.DjangoQExecutor",
    "local": "durable_monty.executors.local.LocalExecutor",
}


def executor_class(name: str) -> type[Executor]:
    """The class of a short name or dotted path. Raises `ImproperlyConfigured`, saying why not."""
    try:
        found = import_string(SHORT_NAMES.get(name, name))
    except (ImportError, TypeError, ValueError) as exc:  # the last two: a relative path
        raise ImproperlyConfigured(
            f"There is no executor {name!r}: use {', '.join(SHORT_NAMES)}, or the dotted path of "
            f"a class ({exc})."
        ) from exc
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise ImproperlyConfigured(f"{name!r} is not a subclass of Executor.")
    if found.__abstractmethods__:
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise ImproperlyConfigured(f"{name!r} does not define {lacking}.")
    return found

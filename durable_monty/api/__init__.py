"""The HTTP API. It is off until `durable_monty.api.urls` is included, or `make_api().urls`."""

from django.core.exceptions import ImproperlyConfigured

try:
    import ninja  # noqa: F401
except ModuleNotFoundError as exc:
    raise ImproperlyConfigured(
        "The HTTP API needs django-ninja: pip install 'django-durable-monty[api]'"
    ) from exc

from durable_monty.api.app import make_api
from durable_monty.api.callers import Caller, KeyAuth, SessionAuth

__all__ = ["Caller", "KeyAuth", "SessionAuth", "make_api"]

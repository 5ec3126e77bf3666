"""The test kit for unittest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.apps import apps

from durable_monty.exceptions import DjangoNotReady

if TYPE_CHECKING:
    from durable_monty.testing.durable import Durable


class DurableMixin:
    """Gives each test of a `TestCase` or `TransactionTestCase` a `Durable` of its own."""

    addCleanup: Callable[..., Any]  # noqa: N815  (of unittest)

    @cached_property
    def durable(self) -> Durable:
        durable = make_durable()
        self.addCleanup(durable.close)
        return durable


def make_durable() -> Durable:
    """Returns a new `Durable`. Raises `DjangoNotReady`."""
    if not apps.ready:
        raise DjangoNotReady("durable")
    # It imports Django's models.
    from durable_monty.testing.durable import Durable

    return Durable()

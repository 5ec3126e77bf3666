"""Functions that a test puts in the place of registered ones, and crashes of their process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from unittest import mock

from asgiref.sync import async_to_sync
from django.db import transaction

from durable_monty import operations
from durable_monty.exceptions import FakeUsedUp, KitError
from durable_monty.executors.inline import InlineExecutor, invoke_in_savepoints
from durable_monty.executors.run import run_function, run_started
from durable_monty.functions import (
    FUNCTION_REGISTRY,
    MANUAL_EXECUTOR,
    RegisteredFunction,
    policy_of,
    resolve_functions,
)
from durable_monty.models import Call
from durable_monty.operations.answer import ClaimedCall
from durable_monty.testing.played import shown
from durable_monty.testing.signatures import fitted


def registered(function: str | Callable[..., Any]) -> RegisteredFunction:
    """Returns a function by its registered name, its dotted path, the last part of that if it is
    the only one, or the function itself. Raises `UnknownFunction`."""
    if isinstance(function, str) and function not in FUNCTION_REGISTRY:
        entries = FUNCTION_REGISTRY.values()
        last = [entry for entry in entries if entry.name.rpartition(".")[2] == function]
        if len(last) == 1:
            return last[0]
    (name,) = resolve_functions([function]).values()
    return FUNCTION_REGISTRY[name]


class Fake:
    """Stands for one function: a mock with its signature. People are asked with any arguments."""

    def __init__(self, entry: RegisteredFunction, returns: Any, side_effect: Any) -> None:
        self._entry = entry
        answers = {"return_value": returns, "side_effect": side_effect}
        if entry.executor == MANUAL_EXECUTOR:
            self.mock = mock.Mock(name=entry.name, **answers)
        else:
            self.mock = mock.create_autospec(entry.func, **answers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given, named = fitted(self._entry, args, kwargs)
        try:
            if self._entry.is_async:
                return async_to_sync(self.mock)(*given, **named)
            return self.mock(*given, **named)
        except (StopIteration, StopAsyncIteration) as exc:
            call = shown(self._entry.name, args, kwargs)
            raise FakeUsedUp(self._entry.name, call) from exc


class _Died(Exception):
    """Ends the transaction of a function whose process "crashes"."""


class KitExecutor(InlineExecutor):
    """Runs functions in the test's own thread, connection and transaction, or their fakes.

    `crashes` counts the calls of a function that are still to be lost. `broken` is the first error
    of the test itself; a function's error is an answer.
    """

    def __init__(self, using: str) -> None:
        super().__init__()
        self.using = using
        self.fakes: dict[str, Fake] = {}
        self.crashes: Counter[str] = Counter()
        self.broken: KitError | None = None

    def submit_call(self, call: Call) -> str:
        if self.crashes[call.function] > 0:
            self.crashes[call.function] -= 1
            self.lose(call)
        else:
            run_started(call, using=self.using, invoke=self.invoke, keeps_lease=False)
        self.wake()
        return str(call.pk)

    def invoke(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        try:
            return invoke_in_savepoints(name, self.fakes.get(name, function), args, kwargs)
        except KitError as exc:
            self.broken = self.broken or exc
            raise

    def lose(self, call: Call) -> None:
        """Runs a call, and loses it before its answer is recorded, as when its worker vanishes."""
        if policy_of(call).transactional:
            with suppress(_Died), transaction.atomic(self.using):
                run_function(call, self.using, self.invoke)
                raise _Died
        else:
            run_function(call, self.using, self.invoke)
        operations.lose_calls([ClaimedCall.of(call)], using=self.using)

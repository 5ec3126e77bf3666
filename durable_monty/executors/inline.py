from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from django.db import transaction

from durable_monty.exceptions import TransactionLost
from durable_monty.executors.run import run_started
from durable_monty.executors.table import TableExecutor
from durable_monty.executors.transactions import open_transactions, put_right
from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.models import Call


class InlineExecutor(TableExecutor):
    """Runs each call in the worker's own thread, connection and transaction, for tests.

    It runs the functions of all executors. Only calls that people answer are left to them.
    """

    name = "inline"
    is_inline: ClassVar[bool] = True

    def serves(self) -> tuple[str, ...]:
        others = {entry.executor for entry in FUNCTION_REGISTRY.values()}
        return tuple(sorted({*super().serves(), *others} - {MANUAL_EXECUTOR}))

    def submit_call(self, call: Call) -> str:
        run_started(call, using=self.using, invoke=invoke_in_savepoints, keeps_lease=False)
        self.wake()
        return str(call.pk)


def invoke_in_savepoints(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Calls a function so that it cannot break a transaction that is open, as of a test."""
    error: BaseException | None = None
    result = None
    with ExitStack() as savepoints:
        for alias in open_transactions():
            savepoints.enter_context(transaction.atomic(alias))
        before = open_transactions()
        try:
            result = function(*args, **kwargs)
        except BaseException as exc:  # noqa: BLE001
            # Raised later, outside the savepoints: its writes are kept, as they are in production.
            error = exc
        lost = put_right(before)
    if error is not None:
        raise error
    if lost:
        raise TransactionLost(name, lost)
    return result

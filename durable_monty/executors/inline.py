from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import transaction

from durable_monty.exceptions import TransactionLost
from durable_monty.executors.local import TableExecutor
from durable_monty.executors.run import run_started
from durable_monty.executors.transactions import open_transactions, put_right
from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR

if TYPE_CHECKING:
    from durable_monty.models import Call


class InlineExecutor(TableExecutor):
    """Runs each call in the worker's own thread, on its connection and in its transaction: for
    tests. It runs the functions of all executors, but those that people answer."""

    name = "inline"
    is_inline: ClassVar[bool] = True

    def serves(self) -> tuple[str, ...]:
        others = {entry.executor for entry in FUNCTION_REGISTRY.values()}
        return tuple(sorted({*super().serves(), *others} - {MANUAL_EXECUTOR}))

    def submit_call(self, call: Call) -> str:
        run_started(call, using=self.using, invoke=_invoke, keeps_lease=False)
        self.wake()
        return str(call.pk)

    def get_stats(self) -> dict[str, Any]:
        return {}


def _invoke(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Calls the function. In a transaction of the caller it has savepoints of its own, so that it
    cannot break that transaction."""
    error: BaseException | None = None
    result = None
    with ExitStack() as savepoints:
        for alias in open_transactions():
            savepoints.enter_context(transaction.atomic(alias))
        before = open_transactions()
        try:
            result = function(*args, **kwargs)
        except BaseException as exc:  # noqa: BLE001
            # Not raised here: what it wrote before is kept, as it is in production.
            error = exc
        deeds = put_right(before)
    if error is not None:
        raise error
    if deeds:
        raise TransactionLost(name, deeds)
    return result

"""What can be done with executions, one or many: each has its own permission."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from durable_monty import operations
from durable_monty.models import Execution, ExecutionStatus

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True)
class Order:
    """One execution, why, and the key under which a new one is made."""

    execution_id: uuid.UUID
    reason: str
    key: str
    using: str


@dataclass(frozen=True, slots=True)
class Verb:
    """`name` is that of its permission and page too. `asks`: it has a page to confirm it, with a
    reason, for one execution too; many are always confirmed. `run` gives the new execution, if
    it makes one; `replays`: it runs the sandbox, so no transaction may be around it."""

    name: str
    label: _StrPromise
    title: _StrPromise
    effect: _StrPromise
    done: _StrPromise
    fits: Callable[[Execution], bool]
    run: Callable[[Order], Execution | None]
    asks: bool = True
    destroys: bool = False
    replays: bool = False

    @property
    def permission(self) -> str:
        return f"{self.name}_execution"


def _cancel(order: Order) -> None:
    operations.cancel_execution(order.execution_id, order.reason, using=order.using)


def _terminate(order: Order) -> None:
    operations.terminate_execution(order.execution_id, order.reason, using=order.using)


def _pause(order: Order) -> None:
    operations.pause_execution(order.execution_id, order.reason, using=order.using)


def _resume(order: Order) -> None:
    operations.resume_execution(order.execution_id, using=order.using)


def _retry(order: Order) -> Execution | None:
    execution = operations.retry_execution(order.execution_id, key=order.key, using=order.using)
    return None if execution.pk == order.execution_id else execution


def _restart(order: Order) -> Execution:
    return operations.fork_execution(order.execution_id, 0, key=order.key, using=order.using)


VERBS = (
    Verb(
        "retry",
        _("Retry"),
        _("Retry executions"),
        _(
            "Calls that wait for their next attempt are tried now. An execution that failed "
            "because of a call goes on in a new one, where that call is asked again; the failed "
            "one stays as it is."
        ),
        _("Retried."),
        lambda row: row.status in (ExecutionStatus.FAILED, ExecutionStatus.WAITING),
        _retry,
        asks=False,
        replays=True,
    ),
    Verb(
        "resume",
        _("Resume"),
        _("Resume executions"),
        _("Workers go on with it."),
        _("Resumed."),
        lambda row: row.status == ExecutionStatus.PAUSED or row.pause_requested,
        _resume,
        asks=False,
    ),
    Verb(
        "pause",
        _("Pause"),
        _("Pause executions"),
        _("An execution takes no further step until it is resumed. Calls that it made go on."),
        _("Paused."),
        lambda row: (
            not (row.is_finished or row.status == ExecutionStatus.PAUSED or row.pause_requested)
        ),
        _pause,
    ),
    Verb(
        "restart",
        _("Restart"),
        _("Restart executions"),
        _(
            "A new execution is started, with the same source and inputs. It calls its functions "
            "again. The old one stays as it is, and goes on if it is not finished."
        ),
        _("Restarted."),
        lambda row: True,
        _restart,
    ),
    Verb(
        "cancel",
        _("Cancel"),
        _("Cancel executions"),
        _(
            "What an execution awaits raises “Cancelled”: it may clean up, with calls too, and "
            "end. If it does not end in time, it is terminated."
        ),
        _("Cancelled."),
        lambda row: not row.is_finished and row.cancel_requested_at is None,
        _cancel,
        destroys=True,
    ),
    Verb(
        "terminate",
        _("Terminate"),
        _("Terminate executions"),
        _("It ends at once, without a clean-up. This cannot be undone."),
        _("Terminated."),
        lambda row: not row.is_finished,
        _terminate,
        destroys=True,
    ),
)

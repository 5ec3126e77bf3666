"""What can be done with executions, one or many: each has its own permission."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _, ngettext_lazy

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
    keep_keys: bool = True


@dataclass(frozen=True, slots=True)
class Verb:
    """`name` is that of its permission and page too; `needs`: the name of its permission, if that
    is another. `asks`: it has a page to confirm it, with a reason, for one execution too; many
    are always confirmed. `run` gives the new execution, if it makes one; `replays`: it runs the
    sandbox, so no transaction may be around it. `has_keys`: it may run calls again."""

    name: str
    label: _StrPromise
    title: _StrPromise
    effect: _StrPromise
    done: _StrPromise
    done_many: _StrPromise
    fits: Callable[[Execution], bool]
    run: Callable[[Order], Execution | None]
    asks: bool = True
    destroys: bool = False
    replays: bool = False
    needs: str = ""
    needs_reason: bool = False
    has_keys: bool = False

    @property
    def permission(self) -> str:
        return f"{self.needs or self.name}_execution"


def _cancel(order: Order) -> None:
    operations.cancel_execution(order.execution_id, order.reason, using=order.using)


def _terminate(order: Order) -> None:
    operations.terminate_execution(order.execution_id, order.reason, using=order.using)


def _pause(order: Order) -> None:
    operations.pause_execution(order.execution_id, order.reason, using=order.using)


def _resume(order: Order) -> None:
    operations.resume_execution(order.execution_id, using=order.using)


def _retry(order: Order) -> Execution | None:
    execution = operations.retry_execution(
        order.execution_id, key=order.key, keep_keys=order.keep_keys, using=order.using
    )
    return None if execution.pk == order.execution_id else execution


def _resolve(order: Order) -> None:
    operations.resolve_execution(order.execution_id, order.reason, using=order.using)


def _unresolve(order: Order) -> None:
    operations.unresolve_execution(order.execution_id, using=order.using)


def _restart(order: Order) -> Execution:
    return operations.fork_execution(order.execution_id, 0, key=order.key, using=order.using)


VERBS = (
    Verb(
        "retry",
        _("Retry"),
        _("Retry executions"),
        _(
            "Calls that wait for their next attempt are tried now. An execution that failed "
            "because of a call goes on in a new execution, which runs that call again; the failed "
            "one is marked as retried. An execution is retried once: if its retry fails too, "
            "retry that one."
        ),
        _("Retried."),
        ngettext_lazy(
            "%(count)d execution is retried.", "%(count)d executions are retried.", "count"
        ),
        lambda row: (
            row.status == ExecutionStatus.WAITING
            or (row.status == ExecutionStatus.FAILED and row.retried_by_id is None)
        ),
        _retry,
        replays=True,
        has_keys=True,
    ),
    Verb(
        "resolve",
        _("Resolve"),
        _("Resolve failed executions"),
        _(
            "A failed execution that needs nothing more leaves the list of failures. It stays as "
            "it is, and can be taken back into the list."
        ),
        _("Resolved."),
        ngettext_lazy(
            "%(count)d execution is resolved.", "%(count)d executions are resolved.", "count"
        ),
        lambda row: row.status == ExecutionStatus.FAILED and row.handled_at is None,
        _resolve,
        needs_reason=True,
    ),
    Verb(
        "unresolve",
        _("Not resolved"),
        _("Take failed executions back into the failures"),
        _("An execution that was resolved by hand is listed among the failures again."),
        _("Listed among the failures again."),
        ngettext_lazy(
            "%(count)d execution is listed among the failures again.",
            "%(count)d executions are listed among the failures again.",
            "count",
        ),
        lambda row: row.handled_at is not None and row.retried_by_id is None,
        _unresolve,
        asks=False,
        needs="resolve",
    ),
    Verb(
        "resume",
        _("Resume"),
        _("Resume executions"),
        _("Workers go on with it."),
        _("Resumed."),
        ngettext_lazy(
            "%(count)d execution is resumed.", "%(count)d executions are resumed.", "count"
        ),
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
        ngettext_lazy(
            "%(count)d execution is paused.", "%(count)d executions are paused.", "count"
        ),
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
            "A new execution is started, with the same source and inputs. All functions are "
            "called again. The original is not changed; if it still runs, both run."
        ),
        _("Restarted."),
        ngettext_lazy(
            "%(count)d execution is restarted.", "%(count)d executions are restarted.", "count"
        ),
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
        ngettext_lazy(
            "%(count)d execution is cancelled.", "%(count)d executions are cancelled.", "count"
        ),
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
        ngettext_lazy(
            "%(count)d execution is terminated.", "%(count)d executions are terminated.", "count"
        ),
        lambda row: not row.is_finished,
        _terminate,
        destroys=True,
    ),
)

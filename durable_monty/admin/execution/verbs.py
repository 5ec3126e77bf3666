"""The verbs of executions. Each has its own permission."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from durable_monty import operations
from durable_monty.admin.base import facts_of
from durable_monty.admin.execution.refusals import Refusal, refuse_own_error, refuse_retried
from durable_monty.admin.execution.verb import Order, Verb
from durable_monty.admin.pages import PagesAdmin
from durable_monty.exceptions import DurableMontyError, NothingToRetry
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.reads.executions import waits_for_retry


class Retry(Verb):
    name = "retry"
    label = _("Retry")
    title = _("Retry executions")
    permission = "retry_execution"
    effect = _(
        "Calls that wait for their next attempt are tried now. An execution that failed because "
        "of a call is continued by a new execution, which runs that call again; the failed one "
        "is marked as retried. An execution is retried once: if its retry fails too, retry that "
        "one."
    )
    done = _("Retried.")
    done_many = ngettext_lazy(
        "%(count)d execution is retried.", "%(count)d executions are retried.", "count"
    )
    replays = has_keys = True

    def fits(self, execution: Execution) -> bool:
        if execution.status == ExecutionStatus.FAILED:
            return execution.retried_by_id is None
        return execution.status == ExecutionStatus.WAITING

    def is_offered(self, row: Execution) -> bool:
        # A waiting execution has something to retry only between two attempts of a call.
        facts = facts_of(row)
        return self.fits(row) and (row.is_finished or waits_for_retry(row, facts.now, facts.using))

    def run(self, order: Order) -> Execution | None:
        execution = operations.retry_execution(
            order.execution_id, key=order.key, keep_keys=order.keep_keys, using=order.using
        )
        return None if execution.pk == order.execution_id else execution

    def refuse(self, model_admin: PagesAdmin, execution: Execution) -> Refusal | None:
        if execution.retried_by is not None:
            return refuse_retried(model_admin, execution, execution.retried_by)
        return super().refuse(model_admin, execution)

    def explain(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        execution: Execution,
        exc: DurableMontyError,
    ) -> Refusal:
        if isinstance(exc, NothingToRetry) and execution.status == ExecutionStatus.FAILED:
            return refuse_own_error(model_admin, request, execution)
        return super().explain(model_admin, request, execution, exc)


class Resolve(Verb):
    name = "resolve"
    label = _("Resolve")
    title = _("Resolve failed executions")
    permission = "resolve_execution"
    effect = _(
        "A failed execution that needs no more attention leaves the list of failures. Nothing "
        "else about it changes, and it can be put back into the list."
    )
    done = _("Resolved.")
    done_many = ngettext_lazy(
        "%(count)d execution is resolved.", "%(count)d executions are resolved.", "count"
    )
    needs_reason = True

    def fits(self, execution: Execution) -> bool:
        return execution.status == ExecutionStatus.FAILED and execution.handled_at is None

    def run(self, order: Order) -> None:
        operations.resolve_execution(order.execution_id, order.reason, using=order.using)


class Unresolve(Verb):
    name = "unresolve"
    label = _("Mark as not resolved")
    title = _("Mark executions as not resolved")
    # Users who may resolve may take that back.
    permission = "resolve_execution"
    effect = _("An execution that was resolved by hand is listed among the failures again.")
    done = _("Listed among the failures again.")
    done_many = ngettext_lazy(
        "%(count)d execution is listed among the failures again.",
        "%(count)d executions are listed among the failures again.",
        "count",
    )
    confirms = False

    def fits(self, execution: Execution) -> bool:
        return execution.handled_at is not None and execution.retried_by_id is None

    def run(self, order: Order) -> None:
        operations.unresolve_execution(order.execution_id, using=order.using)


class Resume(Verb):
    name = "resume"
    label = _("Resume")
    title = _("Resume executions")
    permission = "resume_execution"
    effect = _("Workers continue the execution.")
    done = _("Resumed.")
    done_many = ngettext_lazy(
        "%(count)d execution is resumed.", "%(count)d executions are resumed.", "count"
    )
    confirms = False

    def fits(self, execution: Execution) -> bool:
        return execution.status == ExecutionStatus.PAUSED or execution.pause_requested

    def run(self, order: Order) -> None:
        operations.resume_execution(order.execution_id, using=order.using)


class Pause(Verb):
    name = "pause"
    label = _("Pause")
    title = _("Pause executions")
    permission = "pause_execution"
    effect = _("The workflow stops until you resume it. Calls already started will finish.")
    done = _("Paused.")
    done_many = ngettext_lazy(
        "%(count)d execution is paused.", "%(count)d executions are paused.", "count"
    )

    def fits(self, execution: Execution) -> bool:
        is_paused = execution.status == ExecutionStatus.PAUSED or execution.pause_requested
        return not (execution.is_finished or is_paused)

    def run(self, order: Order) -> None:
        operations.pause_execution(order.execution_id, order.reason, using=order.using)


class Restart(Verb):
    name = "restart"
    label = _("Restart")
    title = _("Restart executions")
    permission = "restart_execution"
    effect = _(
        "A new execution is started, with the same source and inputs. All functions are called "
        "again. The original is not changed; if it still runs, both run."
    )
    done = _("Restarted.")
    done_many = ngettext_lazy(
        "%(count)d execution is restarted.", "%(count)d executions are restarted.", "count"
    )

    def fits(self, execution: Execution) -> bool:
        # The original is not touched, so that its state does not matter.
        return True

    def run(self, order: Order) -> Execution:
        return operations.fork_execution(order.execution_id, 0, key=order.key, using=order.using)


class Cancel(Verb):
    name = "cancel"
    label = _("Cancel")
    title = _("Cancel executions")
    permission = "cancel_execution"
    effect = _(
        "The workflow is told to stop, may clean up first, and is terminated if that takes too "
        "long."
    )
    done = _("Cancelled.")
    done_many = ngettext_lazy(
        "%(count)d execution is cancelled.", "%(count)d executions are cancelled.", "count"
    )
    destroys = True

    def fits(self, execution: Execution) -> bool:
        return not execution.is_finished and execution.cancel_requested_at is None

    def run(self, order: Order) -> None:
        operations.cancel_execution(order.execution_id, order.reason, using=order.using)


class Terminate(Verb):
    name = "terminate"
    label = _("Terminate")
    title = _("Terminate executions")
    permission = "terminate_execution"
    effect = _("The execution ends at once, without cleaning up. This cannot be undone.")
    done = _("Terminated.")
    done_many = ngettext_lazy(
        "%(count)d execution is terminated.", "%(count)d executions are terminated.", "count"
    )
    destroys = True

    def fits(self, execution: Execution) -> bool:
        return not execution.is_finished

    def run(self, order: Order) -> None:
        operations.terminate_execution(order.execution_id, order.reason, using=order.using)


# In the order of their buttons.
VERBS = (
    Retry(),
    Resolve(),
    Unresolve(),
    Resume(),
    Pause(),
    Restart(),
    Cancel(),
    Terminate(),
)

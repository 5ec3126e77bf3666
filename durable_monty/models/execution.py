from __future__ import annotations

import os
import time
import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.models.program import Program
from durable_monty.models.worker_process import WorkerProcess
from durable_monty.models.workflow_version import WorkflowVersion
from durable_monty.text_limits import MAX_NAME


class ExecutionStatus(models.TextChoices):
    SCHEDULED = "scheduled", _("Scheduled")
    WAITING = "waiting", _("Waiting")
    PAUSED = "paused", _("Paused")
    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


ACTIVE = (ExecutionStatus.SCHEDULED, ExecutionStatus.WAITING)
UNFINISHED = (*ACTIVE, ExecutionStatus.PAUSED)
FINISHED = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)


def uuid7() -> uuid.UUID:
    """Returns a time-ordered UUID (RFC 9562): 48 bits of Unix milliseconds, the rest random."""
    # Random keys scatter inserts over the whole index; these append.
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def active(self) -> ExecutionQuerySet:
        return self.filter(status__in=ACTIVE)

    def unfinished(self) -> ExecutionQuerySet:
        return self.filter(status__in=UNFINISHED)

    def failures(self) -> ExecutionQuerySet:
        """Returns the failed executions that nobody has retried or resolved yet."""
        # An index has these; SQLite matches only what is NULL or not.
        return self.filter(
            status=ExecutionStatus.FAILED,
            finished_at__isnull=False,
            output=None,
            handled_at=None,
        )

    def due(self, now: datetime) -> ExecutionQuerySet:
        """Returns the executions that need a worker now; `due_at` is null on the others."""
        return self.filter(due_at__lte=now)


class Execution(models.Model):
    """One run of a program. Its journal (inputs, seed, calls and their answers) is the truth."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    program = models.ForeignKey(
        Program, models.PROTECT, related_name="executions", verbose_name=_("workflow source")
    )
    version = models.ForeignKey(
        WorkflowVersion,
        models.PROTECT,
        null=True,
        db_index=False,  # every start would write to it, and versions are never deleted
        related_name="executions",
        verbose_name=_("version"),
    )
    name = IdentifierField(_("name"), max_length=MAX_NAME, blank=True)
    label = IdentifierField(_("label of this run"), max_length=MAX_NAME, blank=True)
    key = IdentifierField(
        _("idempotency key"),
        max_length=MAX_NAME,
        null=True,
        help_text=_("Starting again with the same key gives this execution."),
    )
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=ExecutionStatus.choices,
        default=ExecutionStatus.SCHEDULED,
    )
    inputs = models.TextField(_("inputs"), help_text=_("JSON text, see the codec."))
    seed = models.CharField(_("random seed"), max_length=36)
    output = models.TextField(_("output"), null=True)  # noqa: DJ001  (null: none yet)
    error_type = IdentifierField(_("error"), max_length=MAX_NAME, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    error_traceback = models.TextField(_("traceback"), blank=True)
    log = models.TextField(_("log"), blank=True, help_text=_("What the workflow printed."))

    turn = models.PositiveIntegerField(
        _("turn"), default=0, help_text=_("How often the sandbox ran and was committed.")
    )
    call_count = models.PositiveIntegerField(_("calls"), default=0)
    position_start = models.PositiveIntegerField(
        _("paused at byte"), null=True, help_text=_("UTF-8 offset of the paused expression.")
    )
    position_end = models.PositiveIntegerField(_("paused until byte"), null=True)
    clock_at = MomentField(
        _("last clock reading"), null=True, help_text=_("A workflow's clock never goes back.")
    )

    due_at = MomentField(
        _("due"), null=True, help_text=_("When a worker must look at it; empty: never.")
    )
    wakeups = models.PositiveIntegerField(
        _("wake-ups"), default=0, help_text=_("Counts answers; a turn parks only if unchanged.")
    )
    claim = models.UUIDField(_("claim token"), null=True)
    worker = models.ForeignKey(
        WorkerProcess,
        models.SET_NULL,
        null=True,
        db_index=False,  # every claim would write to it, and nobody asks by it
        related_name="executions",
        verbose_name=_("worker"),
    )
    faults = models.PositiveIntegerField(
        _("host faults"), default=0, help_text=_("Since the last turn that was committed.")
    )

    pause_requested = models.BooleanField(
        _("pause requested"), default=False, help_text=_("Pauses with the next commit.")
    )
    cancel_requested_at = MomentField(_("cancel requested"), null=True)
    reason = models.TextField(
        _("reason"), blank=True, help_text=_("Why it was paused or cancelled.")
    )
    deadline = MomentField(_("deadline"), null=True)
    grace_until = MomentField(
        _("grace ends"), null=True, help_text=_("Until then it may clean up.")
    )

    forked_from = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        db_index=False,  # a partial one, below: most are no forks
        related_name="forks",
        verbose_name=_("forked from"),
        help_text=_("The execution whose journal it began with."),
    )
    forked_turn = models.PositiveIntegerField(
        _("forked after turn"), null=True, help_text=_("0: it was started again.")
    )

    retried_by = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        db_index=False,  # a partial one, below: few are retried
        related_name="retries",
        verbose_name=_("retried by"),
        help_text=_("The execution that goes on from the call that made this one fail."),
    )
    handled_at = MomentField(
        _("handled"), null=True, help_text=_("When this failure was retried or resolved.")
    )
    resolution = models.TextField(
        _("resolution"), blank=True, help_text=_("Why this failure needs nothing more.")
    )

    created_at = MomentField(_("created"))
    started_at = MomentField(_("started"), null=True)
    finished_at = MomentField(_("finished"), null=True)

    # Set by a claim: whether the worker that had claimed it before has vanished.
    was_lost = False
    # The database's time of the claim by which this process has it.
    claimed_at: datetime | None = None

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = _("execution")
        verbose_name_plural = _("executions")
        default_permissions = ("view",)
        permissions = [
            ("view_dashboard", _("Can view the dashboard")),
            ("start_execution", _("Can start executions, and fork them with other source")),
            ("call_any_function", _("Can let source of the admin call any function")),
            ("cancel_execution", _("Can cancel executions")),
            ("terminate_execution", _("Can terminate executions")),
            ("pause_execution", _("Can pause executions")),
            ("resume_execution", _("Can resume executions")),
            ("retry_execution", _("Can retry executions")),
            ("resolve_execution", _("Can mark failed executions as resolved")),
            ("restart_execution", _("Can restart executions")),
            ("fork_execution", _("Can fork executions")),
            ("export_execution", _("Can export executions")),
        ]
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["due_at"], name="dm_execution_due", condition=Q(due_at__isnull=False)
            ),
            models.Index(
                fields=["deadline"],
                name="dm_execution_deadline",
                condition=Q(deadline__isnull=False),
            ),
            models.Index(
                fields=["grace_until"],
                name="dm_execution_grace",
                condition=Q(grace_until__isnull=False),
            ),
            models.Index(
                fields=["forked_from"],
                name="dm_execution_forks",
                condition=Q(forked_from__isnull=False),
            ),
            models.Index(
                fields=["retried_by"],
                name="dm_execution_retries",
                condition=Q(retried_by__isnull=False),
            ),
            models.Index(fields=["status", "id"], name="dm_execution_status"),
            models.Index(fields=["name", "id"], name="dm_execution_name"),
            models.Index(
                fields=["status", "finished_at"],
                name="dm_execution_finished",
                condition=Q(finished_at__isnull=False),
            ),
            models.Index(
                fields=["status", "finished_at"],
                name="dm_execution_failures",
                condition=Q(
                    finished_at__isnull=False, output__isnull=True, handled_at__isnull=True
                ),
            ),
            models.Index(
                fields=["error_type", "id"],
                name="dm_execution_error",
                condition=Q(finished_at__isnull=False, output__isnull=True),
            ),
        ]
        constraints = [
            # Not `unique=True`, which brings a second index on PostgreSQL.
            models.UniqueConstraint(fields=["key"], name="dm_execution_key_unique"),
            models.CheckConstraint(
                name="dm_execution_status_known",
                condition=Q(status__in=[choice.value for choice in ExecutionStatus]),
            ),
            models.CheckConstraint(
                name="dm_execution_finished_at",
                condition=Q(status__in=FINISHED, finished_at__isnull=False)
                | Q(status__in=UNFINISHED, finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="dm_execution_output",
                condition=Q(status=ExecutionStatus.COMPLETED, output__isnull=False)
                | (~Q(status=ExecutionStatus.COMPLETED) & Q(output__isnull=True)),
            ),
            models.CheckConstraint(
                name="dm_execution_due_active",
                condition=Q(due_at__isnull=True) | Q(status__in=ACTIVE),
            ),
            models.CheckConstraint(
                name="dm_execution_deadline_unfinished",
                condition=Q(deadline__isnull=True, grace_until__isnull=True)
                | Q(status__in=UNFINISHED),
            ),
            models.CheckConstraint(
                name="dm_execution_claim_leased",
                condition=Q(claim__isnull=True) | Q(due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.short_id}".lstrip()

    @property
    def short_id(self) -> str:
        """The millisecond of its start and 12 random bits: a prefix, which indexes can find."""
        return str(self.id)[:18]

    @property
    def version_number(self) -> int | None:
        """The number of its version, if it runs a workflow in a file."""
        return None if self.version is None else self.version.number

    @property
    def active_status(self) -> ExecutionStatus:
        """The status that it has when it is neither paused nor finished."""
        return ExecutionStatus.WAITING if self.turn else ExecutionStatus.SCHEDULED

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from durable_monty.kinds import PERSON, CallKind
from durable_monty.models.execution import Execution
from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.models.worker_process import WorkerProcess
from durable_monty.text_limits import MAX_NAME

# Ends the job id of an attempt that goes on elsewhere: no process of ours has to do with it any
# more, until its answer comes or its time is over.
ACCEPTED = "+accepted"


class CallStatus(models.TextChoices):
    PENDING = "pending", _("Pending")
    SUBMITTED = "submitted", _("Submitted")
    COMPLETED = "completed", _("Completed")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


OPEN = (CallStatus.PENDING, CallStatus.SUBMITTED)
ANSWERED = (CallStatus.COMPLETED, CallStatus.FAILED)


class CallQuerySet(models.QuerySet["Call"]):
    def open(self) -> CallQuerySet:
        """Returns the calls that are neither answered nor withdrawn."""
        return self.filter(status__in=OPEN, finished_at=None)

    def functions(self) -> CallQuerySet:
        return self.filter(kind=CallKind.FUNCTION)

    def due(self, now: datetime) -> CallQuerySet:
        return self.filter(due_at__lte=now)

    def undelivered(self) -> CallQuerySet:
        """Returns the calls whose answer no turn has been given."""
        return self.filter(status__in=ANSWERED, delivered_turn=None, finished_at__isnull=False)

    def unsuccessful(self) -> CallQuerySet:
        """Returns the calls that failed or were withdrawn."""
        return self.filter(finished_at__isnull=False, result=None)

    def waiting_for_people(self) -> CallQuerySet:
        return self.open().filter(PERSON.rows)


class Call(models.Model):
    """One outside call of an execution: a row of its journal."""

    execution = models.ForeignKey(
        Execution,
        models.CASCADE,
        db_index=False,  # the unique constraint begins with it
        related_name="calls",
        verbose_name=_("execution"),
    )
    call_id = models.PositiveIntegerField(_("call id"))
    kind = models.CharField(
        _("kind"), max_length=10, choices=CallKind.choices, default=CallKind.FUNCTION
    )
    function = IdentifierField(_("function"), max_length=MAX_NAME)
    args = models.TextField(_("arguments"), default="[]")
    kwargs = models.TextField(_("keyword arguments"), default="{}")
    position_start = models.PositiveIntegerField(
        _("called at byte"), help_text=_("UTF-8 offset of the call in the source.")
    )
    position_end = models.PositiveIntegerField(_("called until byte"))
    turn = models.PositiveIntegerField(_("made in turn"))

    status = models.CharField(
        _("status"), max_length=10, choices=CallStatus.choices, default=CallStatus.PENDING
    )
    result = models.TextField(_("result"), null=True)  # noqa: DJ001  (null: none yet)
    error_type = IdentifierField(_("error"), max_length=MAX_NAME, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    raised_as = IdentifierField(
        _("raised as"),
        max_length=50,
        blank=True,
        help_text=_("The type that the workflow sees, where the sandbox does not have its own."),
    )
    error_traceback = models.TextField(_("traceback"), blank=True)
    delivered_turn = models.PositiveIntegerField(_("delivered in turn"), null=True)
    after_load = models.BooleanField(
        _("delivered after a load"),
        default=False,
        help_text=_("That turn began from a loaded snapshot; replay loads there too."),
    )

    executor = IdentifierField(_("executor"), max_length=50)
    due_at = MomentField(
        _("due"), null=True, help_text=_("When a worker must look at it; empty: never.")
    )
    claim = models.UUIDField(_("claim token"), null=True)
    worker = models.ForeignKey(
        WorkerProcess,
        models.SET_NULL,
        null=True,
        db_index=False,  # every claim would write to it, and nobody asks by it
        related_name="calls",
        verbose_name=_("worker"),
    )
    attempt = models.PositiveIntegerField(
        _("attempt"), default=0, help_text=_("How often the function was started.")
    )
    failures = models.PositiveIntegerField(
        _("failures"), default=0, help_text=_("Attempts that raised or overran their time.")
    )
    losses = models.PositiveIntegerField(
        _("losses"), default=0, help_text=_("Attempts in a row whose worker vanished.")
    )
    start_by = MomentField(_("schedule-to-start ends"), null=True)
    attempt_end_by = MomentField(_("start-to-close ends"), null=True)
    heartbeat_by = MomentField(_("next heartbeat due"), null=True)
    close_by = MomentField(_("schedule-to-close ends"), null=True)
    deadline_at = MomentField(
        _("first deadline"), null=True, help_text=_("The least of the four above.")
    )
    progress = models.FloatField(_("progress"), null=True, help_text=_("From 0 to 1."))
    progress_message = models.CharField(_("progress message"), max_length=500, blank=True)
    key_execution = models.UUIDField(
        _("execution of the key"),
        null=True,
        help_text=_("Its id stands in the idempotency key, if it is not this execution's."),
    )
    job_id = IdentifierField(_("job id"), max_length=MAX_NAME, blank=True)

    created_at = MomentField(_("created"))
    started_at = MomentField(_("started"), null=True)
    finished_at = MomentField(_("finished"), null=True)
    # Users may be in another database, and they may be deleted: then no row is there any more, and
    # the name is what is left.
    completed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("user"),
    )
    completed_by_name = models.CharField(_("answered by"), max_length=MAX_NAME, blank=True)
    reason = models.TextField(_("reason"), blank=True)

    objects = CallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call")
        verbose_name_plural = _("calls")
        default_permissions = ("view",)
        permissions = [
            ("complete_call", _("Can answer calls by hand")),
            ("retry_call", _("Can let calls be tried again at once")),
        ]
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["executor", "function", "due_at"],
                name="dm_call_due",
                condition=Q(due_at__isnull=False),
            ),
            models.Index(
                fields=["deadline_at"],
                name="dm_call_deadline",
                condition=Q(deadline_at__isnull=False),
            ),
            models.Index(
                fields=["execution"],
                name="dm_call_undelivered",
                # No parameters: SQLite cannot match a partial index against them.
                condition=Q(delivered_turn__isnull=True, finished_at__isnull=False),
            ),
            models.Index(
                fields=["executor", "created_at"],
                name="dm_call_open",
                condition=Q(finished_at__isnull=True),
            ),
            models.Index(fields=["function", "id"], name="dm_call_function"),
            models.Index(
                fields=["status", "id"],
                name="dm_call_unsuccessful",
                condition=Q(finished_at__isnull=False, result__isnull=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["execution", "call_id"], name="dm_call_id_unique"),
            models.CheckConstraint(
                name="dm_call_status_known",
                condition=Q(status__in=[choice.value for choice in CallStatus]),
            ),
            models.CheckConstraint(
                name="dm_call_finished_at",
                condition=Q(status__in=OPEN, finished_at__isnull=True)
                | (~Q(status__in=OPEN) & Q(finished_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="dm_call_result",
                condition=Q(status=CallStatus.COMPLETED, result__isnull=False)
                | (~Q(status=CallStatus.COMPLETED) & Q(result__isnull=True)),
            ),
            models.CheckConstraint(
                name="dm_call_due_open",
                condition=Q(due_at__isnull=True, deadline_at__isnull=True) | Q(status__in=OPEN),
            ),
            models.CheckConstraint(
                name="dm_call_delivered_answered",
                condition=Q(delivered_turn__isnull=True) | Q(status__in=ANSWERED),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function} #{self.call_id}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_accepted(self) -> bool:
        return self.is_open and self.job_id.endswith(ACCEPTED)

    def note_deadline(self) -> None:
        """Sets `deadline_at` from its four reasons."""
        reasons = (self.start_by, self.attempt_end_by, self.heartbeat_by, self.close_by)
        self.deadline_at = min((at for at in reasons if at is not None), default=None)

    @property
    def idempotency_key(self) -> str:
        """A key for services that take one. It is the same for every attempt of this call."""
        return f"{self.key_execution or self.execution_id}:{self.call_id}"

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from durable_monty.models.call import Call
from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.models.worker_process import WorkerProcess
from durable_monty.text_limits import MAX_NAME


class AttemptOutcome(models.TextChoices):
    FAILED = "failed", _("Failed")
    TIMED_OUT = "timed_out", _("Timed out")
    LOST = "lost", _("Lost")


class Attempt(models.Model):
    """An attempt that did not answer its call. The current one, and the one that did, stand on
    the call itself."""

    call = models.ForeignKey(
        Call,
        models.CASCADE,
        db_index=False,  # the unique constraint leads with it
        related_name="attempts",
        verbose_name=_("call"),
    )
    number = models.PositiveIntegerField(_("number"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=AttemptOutcome.choices)
    error_type = IdentifierField(_("error"), max_length=MAX_NAME, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    error_traceback = models.TextField(_("traceback"), blank=True)
    worker = models.ForeignKey(
        WorkerProcess,
        models.SET_NULL,
        null=True,
        db_index=False,
        related_name="attempts",
        verbose_name=_("worker"),
    )
    started_at = MomentField(_("started"), null=True)
    ended_at = MomentField(_("ended"))

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        default_permissions = ("view",)
        ordering = ["call", "number"]
        constraints = [
            models.UniqueConstraint(fields=["call", "number"], name="dm_attempt_number_unique"),
            models.CheckConstraint(
                name="dm_attempt_outcome_known",
                condition=models.Q(outcome__in=[choice.value for choice in AttemptOutcome]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.call_id}/{self.number}"

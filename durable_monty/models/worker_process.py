from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.text_limits import MAX_NAME

# A worker writes its heartbeat this often; after three missed ones it counts as dead.
HEARTBEAT = timedelta(seconds=5)
DEAD_AFTER = 3 * HEARTBEAT


class WorkerProcessQuerySet(models.QuerySet["WorkerProcess"]):
    def alive(self, now: datetime) -> WorkerProcessQuerySet:
        return self.filter(stopped_at=None, heartbeat_at__gt=now - DEAD_AFTER)

    def silent(self, now: datetime) -> WorkerProcessQuerySet:
        """Returns the workers that stopped writing heartbeats without a word."""
        return self.filter(stopped_at=None, heartbeat_at__lte=now - DEAD_AFTER)


class WorkerProcess(models.Model):
    """A running `Worker`, for people to see; correctness never rests on its heartbeat."""

    host = IdentifierField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process id"))
    version = models.CharField(_("version"), max_length=50)
    sandbox_version = models.CharField(_("sandbox version"), max_length=50)
    executor = IdentifierField(_("executor"), max_length=MAX_NAME)
    functions_json = models.TextField(_("functions"), help_text=_("JSON: the names it serves."))
    stuck_json = models.TextField(
        _("stuck calls"),
        default="{}",
        help_text=_("JSON: calls that occupy its threads although nobody waits for them."),
    )
    started_at = MomentField(_("started"))
    heartbeat_at = MomentField(_("last heartbeat"), db_index=True)
    stopped_at = MomentField(_("stopped"), null=True)

    objects = WorkerProcessQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        default_permissions = ("view",)
        permissions = [("dismiss_workerprocess", _("Can dismiss workers that do not respond"))]
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def is_alive(self, now: datetime) -> bool:
        return self.stopped_at is None and self.heartbeat_at > now - DEAD_AFTER

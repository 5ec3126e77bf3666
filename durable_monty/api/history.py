"""Records in the history of the admin who did something."""

from __future__ import annotations

import logging

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext

from durable_monty.api.callers import Caller

logger = logging.getLogger("durable_monty")


def note(caller: Caller, row: Model, text: str, reason: str = "", *, is_new: bool = False) -> None:
    """Records that `caller` changed `row`, or made it if `is_new`."""
    if reason:
        text = f"{text} {gettext('Reason: %(reason)s') % {'reason': reason}}"
    if caller.key is not None:
        text = f"{text} {gettext('API key: %(key)s.') % {'key': caller.key}}"
    actor = caller.actor.get_username()
    facts = {"model": row._meta.model_name, "pk": str(row.pk), "user": actor}
    logger.info("API: %s %s, by %s: %s", row._meta.model_name, row.pk, actor, text, extra=facts)
    if caller.user is None or not apps.is_installed("django.contrib.admin"):
        return
    # Its models cannot be imported in a project without the admin.
    from django.contrib.admin.models import ADDITION, CHANGE, LogEntry

    LogEntry.objects.log_actions(
        caller.user.pk, [row], ADDITION if is_new else CHANGE, text, single_object=True
    )

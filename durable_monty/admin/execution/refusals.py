"""Reasons why a verb cannot be applied to an execution, and links to other ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.db import router
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from durable_monty.admin.formats import link, moment
from durable_monty.admin.pages import PagesAdmin
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.failed_calls import failed_calls

# A message names this many refused executions.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """`text`: a sentence for the page of the execution; `why`: the reason, for a list."""

    execution: Execution
    text: SafeString | str
    why: SafeString | str
    level: int = messages.ERROR


def refuse_status(execution: Execution) -> Refusal:
    status = execution.get_status_display()
    text = gettext("Nothing was changed: %(execution)s is “%(status)s”.")
    return Refusal(execution, text % {"execution": execution, "status": status}, f"“{status}”")


def refuse_retried(admin: PagesAdmin, execution: Execution, retry: Execution) -> Refusal:
    when = moment(execution.handled_at, database_now(router.db_for_write(Execution)))
    retry_link = admin.link_to(retry)
    text = format_html(
        gettext("{} was retried {} as {}."), admin.link_to(execution), when, retry_link
    )
    if retry.status == ExecutionStatus.FAILED:
        text = format_html("{} {}", text, gettext("That one has failed too: retry it instead."))
    why = format_html(gettext("retried {} as {}"), when, retry_link)
    return Refusal(execution, text, why, messages.WARNING)


def refuse_own_error(admin: PagesAdmin, request: HttpRequest, execution: Execution) -> Refusal:
    """Returns a refusal with links to what can be done instead, as there is no call to retry."""
    parts = [gettext("Nothing to retry: the workflow itself raised this error.")]
    if admin.may(request, "fork_execution") and admin.may_view(Call, request):
        url, text = admin.url_of(execution, "fork"), gettext("Fork it from a call.")
        failed = failed_calls(execution.pk, router.db_for_write(Execution))
        if failed and failed[0].delivered_turn is not None:
            call = failed[0]
            url = f"{url}?turn={failed[0].delivered_turn - 1}&again={call.call_id}"
            text = gettext("Fork it from call %(number)d.") % {"number": call.call_id}
        parts.append(link(url, text))
    if admin.may(request, "restart_execution"):
        parts.append(link(admin.url_of(execution, "restart"), gettext("Restart it.")))
    why = gettext("the workflow itself raised its error")
    text = format_html_join(" ", "{}", ((part,) for part in parts))
    return Refusal(execution, text, why, messages.WARNING)


def summarize(admin: PagesAdmin, refusals: Sequence[Refusal]) -> SafeString:
    """Returns one sentence about the executions of an action that were refused."""
    named = format_html_join(
        "; ",
        "{} ({})",
        ((admin.link_to(refusal.execution), refusal.why) for refusal in refusals[:_NAMED]),
    )
    more = "; …" if len(refusals) > _NAMED else ""
    text = ngettext(
        "%(count)d execution was not changed: ",
        "%(count)d executions were not changed: ",
        len(refusals),
    )
    return format_html("{}{}{}", text % {"count": len(refusals)}, named, more)

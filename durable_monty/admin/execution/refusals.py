"""What is said of executions with which something could not be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from durable_monty.admin.formats import link, moment
from durable_monty.admin.pages import PagesAdmin
from durable_monty.models import Call, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.operations.failed_calls import failed_calls

# Of many refusals so many are named.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """`text`: a sentence for the page of the execution; `why`: the reason, for a list."""

    execution: Execution
    text: SafeString | str
    why: SafeString | str
    level: int = messages.ERROR


def is_unfit(execution: Execution) -> Refusal:
    status = execution.get_status_display()
    facts = {"execution": execution, "status": status}
    text = gettext("Nothing was changed: %(execution)s is “%(status)s”.") % facts
    return Refusal(execution, text, f"“{status}”")


def was_retried(admin: PagesAdmin, execution: Execution, retry: Execution) -> Refusal:
    now = database_now(retry._state.db or "default")
    facts = (moment(execution.handled_at, now), admin.link_to(retry))
    text = format_html(gettext("{} was retried {} as {}."), admin.link_to(execution), *facts)
    if retry.status == ExecutionStatus.FAILED:
        text = format_html("{} {}", text, gettext("That one has failed too: retry it instead."))
    why = format_html(gettext("retried {} as {}"), *facts)
    return Refusal(execution, text, why, messages.WARNING)


def raised_by_itself(admin: PagesAdmin, request: HttpRequest, execution: Execution) -> Refusal:
    """There is no call to retry: the links are to what can be done instead."""
    text = gettext("Nothing to retry: the workflow itself raised this error.")
    instead = format_html_join(
        "", " {}", ((each,) for each in _instead(admin, request, execution))
    )
    why = gettext("the workflow itself raised its error")
    return Refusal(execution, format_html("{}{}", text, instead), why, messages.WARNING)


def summary_of(admin: PagesAdmin, refusals: Sequence[Refusal]) -> SafeString:
    named = format_html_join(
        "; ",
        "{} ({})",
        ((admin.link_to(refusal.execution), refusal.why) for refusal in refusals[:_NAMED]),
    )
    more = "; …" if len(refusals) > _NAMED else ""
    text = ngettext("%(count)d could not be: ", "%(count)d could not be: ", len(refusals))
    return format_html("{}{}{}", text % {"count": len(refusals)}, named, more)


def _instead(
    admin: PagesAdmin, request: HttpRequest, execution: Execution
) -> Iterator[SafeString]:
    if admin.may(request, "fork_execution") and admin.may_view(Call, request):
        failed = failed_calls(execution.pk, execution._state.db or "default")
        url = admin.page_url(execution, "fork")
        if failed and failed[0].delivered_turn is not None:
            call = failed[0]
            url = f"{url}?turn={failed[0].delivered_turn - 1}&again={call.call_id}"
            yield link(url, gettext("Fork it from call %(number)d.") % {"number": call.call_id})
        else:
            yield link(url, gettext("Fork it from a call."))
    if admin.may(request, "restart_execution"):
        yield link(admin.page_url(execution, "restart"), gettext("Restart it."))

"""Trying calls again now, instead of at the time of their next attempt."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import facts_of
from durable_monty.admin.pages import Button, Page, PagesAdmin
from durable_monty.exceptions import DurableMontyError
from durable_monty.models import Call
from durable_monty.operations.transactions import write
from durable_monty.reads.call_state import CallState, call_state


class RetryPage(Page):
    name = "retry"
    label = _("Retry now")
    permission = "retry_call"
    # It acts at once, which a mere link must never do.
    methods = ("POST",)

    def is_offered(self, row: Call) -> bool:
        return call_state(row, facts_of(row).now) is CallState.RETRYING

    def button(self, model_admin: PagesAdmin, row: Call) -> Button:
        return Button(str(self.label), model_admin.url_of(row, self.name), posts=True)

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Call, **kwargs: Any
    ) -> HttpResponse:
        if refusal := _retry(model_admin, request, row):
            model_admin.show_refusals(request, [refusal])
        else:
            text = format_html(gettext("{} is tried now."), model_admin.link_to(row))
            model_admin.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(model_admin.url_of(row))


@admin.action(description=_("Retry calls now"))
def retry(model_admin: PagesAdmin, request: HttpRequest, queryset: QuerySet[Call]) -> None:
    calls = model_admin.selected(request, queryset)
    refusals = [text for call in calls if (text := _retry(model_admin, request, call))]
    model_admin.show_refusals(request, refusals)
    if done := len(calls) - len(refusals):
        text = ngettext("%(count)d call is tried now.", "%(count)d calls are tried now.", done)
        model_admin.message_user(request, text % {"count": done}, messages.SUCCESS)


def _retry(model_admin: PagesAdmin, request: HttpRequest, call: Call) -> str:
    """Tries the call now. Returns the reason if that is refused, otherwise an empty text."""
    using = router.db_for_write(Call)
    try:
        with write(using):
            # The history has an entry only if the call was really moved.
            operations.retry_call(call.execution_id, call.call_id, using=using)
            model_admin.log_change(request, call, gettext("Retried."))
    except DurableMontyError as exc:
        return str(exc)
    return ""

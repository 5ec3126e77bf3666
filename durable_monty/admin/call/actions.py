"""What can be done with calls beside answering one: retry now, fork from there, answer many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import page_of
from durable_monty.admin.call.answer_form import AnswerForm, answer_fields, form_for
from durable_monty.admin.execution.actions import Tool
from durable_monty.admin.pages import PagesAdmin, admin_form
from durable_monty.admin.values.call_signature import arguments, purpose
from durable_monty.exceptions import DurableMontyError
from durable_monty.kinds import PERSON, kind_of
from durable_monty.models import Call, Execution
from durable_monty.operations.transactions import write
from durable_monty.reads.call_state import CallState, call_state


class CallActions(PagesAdmin):
    """A mixin of the admin of calls."""

    action_permissions = {"answer": "complete_call", "retry": "retry_call"}

    def object_pages(self) -> dict[str, Callable[..., Any]]:
        return {**super().object_pages(), "retry": self.retry_view}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["tools"] = self.tools(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def tools(self, request: HttpRequest, call: Call) -> list[Tool]:
        tools = []
        is_retrying = call_state(call, page_of(call).now) is CallState.RETRYING
        if is_retrying and self.may(request, "retry_call"):
            tools.append(Tool(gettext("Retry now"), self.page_url(call, "retry"), posts=True))
        may_fork = self.may_view(Execution, request) and self.may(request, "fork_execution")
        if may_fork and call.delivered_turn is not None and kind_of(call).takes_answers:
            fork = reverse(
                "admin:durable_monty_execution_fork",
                args=[call.execution_id],
                current_app=self.admin_site.name,
            )
            query = f"?turn={call.delivered_turn - 1}&again={call.call_id}"
            tools.append(Tool(gettext("Fork from here…"), fork + query))
        return tools

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        call = self.found(request, object_id, "retry_call")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if refusal := self.retry(request, call):
            self.tell_refusals(request, [refusal])
        else:
            text = format_html(gettext("{} is tried now."), self.link_to(call))
            self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self.url_of(call))

    def retry(self, request: HttpRequest, call: Call) -> str:
        """Why it was refused; empty, if it was done."""
        using = router.db_for_write(Call)
        try:
            with write(using):
                operations.retry_call(call.execution_id, call.call_id, using=using)
                self.log_change(request, call, gettext("Retried."))
        except DurableMontyError as exc:
            return str(exc)
        return ""

    def settle(self, request: HttpRequest, call: Call, form: AnswerForm) -> str:
        """Why it was refused; empty, if it was done."""
        using = router.db_for_write(Call)
        try:
            with write(using):
                operations.settle_by_hand(
                    call.execution_id,
                    call.call_id,
                    form.answer(),
                    using=using,
                    user=request.user,
                    reason=form.cleaned_data["reason"],
                )
                self.log_change(request, call, form.told())
        except DurableMontyError as exc:
            return str(exc)
        return ""

    def ask_answer(
        self, request: HttpRequest, calls: Sequence[Call], form: AnswerForm
    ) -> HttpResponse:
        function = calls[0].function
        return self.render_page(
            request,
            "call/answer.html",
            ngettext("Answer %(count)d call", "Answer %(count)d calls", len(calls))
            % {"count": len(calls)},
            function=function,
            purpose=purpose(function),
            rows=[(call, arguments(call)) for call in calls],
            adminform=admin_form(
                form,
                [(gettext("Your answer to all of them"), {"fields": answer_fields(function)})],
            ),
            checkbox_name=ACTION_CHECKBOX_NAME,
            back_url=reverse(
                "admin:durable_monty_call_changelist", current_app=self.admin_site.name
            ),
        )


@admin.action(description=_("Answer calls of one function"))
def answer(
    model_admin: CallActions, request: HttpRequest, queryset: QuerySet[Call]
) -> HttpResponse | None:
    # With what the list leaves out: the arguments.
    calls = model_admin.chosen(request, queryset.defer(None).select_related("execution"))
    if not calls:
        return None
    if refusal := _unfit(calls):
        model_admin.message_user(request, refusal, messages.ERROR)
        return None
    # Who answers in the place of a machine says why.
    instance = next((call for call in calls if kind_of(call) is not PERSON), calls[0])
    data = request.POST if "confirmed" in request.POST else None
    form = form_for(calls[0].function)(data, instance=instance)
    if not form.is_valid():
        return model_admin.ask_answer(request, calls, form)
    refusals = [text for call in calls if (text := model_admin.settle(request, call, form))]
    model_admin.tell_refusals(request, refusals)
    if done := len(calls) - len(refusals):
        text = ngettext("%(count)d call was answered.", "%(count)d calls were answered.", done)
        model_admin.message_user(request, text % {"count": done}, messages.SUCCESS)
    return None


def _unfit(calls: Sequence[Call]) -> str:
    """Why these cannot be answered together; empty, if they can."""
    if not all(call.is_open and kind_of(call).takes_answers for call in calls):
        return gettext("Nothing was changed: choose only open calls of functions.")
    if len({call.function for call in calls}) > 1:
        return gettext("Nothing was changed: choose calls of one function.")
    return ""


@admin.action(description=_("Retry calls now"))
def retry(model_admin: CallActions, request: HttpRequest, queryset: QuerySet[Call]) -> None:
    calls = model_admin.chosen(request, queryset)
    refusals = [text for call in calls if (text := model_admin.retry(request, call))]
    model_admin.tell_refusals(request, refusals)
    if done := len(calls) - len(refusals):
        text = ngettext("%(count)d call is tried now.", "%(count)d calls are tried now.", done)
        model_admin.message_user(request, text % {"count": done}, messages.SUCCESS)

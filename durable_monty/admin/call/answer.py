"""Answers of people: one call by its change form, several by an action of the list."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from durable_monty import operations
from durable_monty.admin.base import facts_of
from durable_monty.admin.call.answer_form import AnswerForm, answer_fields, form_for
from durable_monty.admin.pages import PagesAdmin
from durable_monty.admin.values.call_signature import arguments, purpose
from durable_monty.exceptions import DurableMontyError
from durable_monty.kinds import PERSON, kind_of
from durable_monty.models import Call, CallStatus
from durable_monty.operations.transactions import write
from durable_monty.wording.times import ago


def record_answer(request: HttpRequest, call: Call, form: AnswerForm) -> None:
    operations.settle_by_hand(
        call.execution_id,
        call.call_id,
        form.answer(),
        using=router.db_for_write(Call),
        user=request.user,
        reason=form.cleaned_data["reason"],
    )


def refuse_late_answer(call: Call) -> str:
    """Returns the message for an answer to a call that is not open any more."""
    now = facts_of(call).now
    values = {
        "call": call,
        "when": ago(call.finished_at or now, now),
        "user": call.completed_by_name,
    }
    if call.status == CallStatus.CANCELLED:
        return gettext("Nothing was changed: %(call)s was withdrawn %(when)s.") % values
    if not call.completed_by_name:
        return gettext("Nothing was changed: %(call)s was already answered %(when)s.") % values
    text = gettext("Nothing was changed: %(call)s was already answered %(when)s, by %(user)s.")
    return text % values


@admin.action(description=_("Answer selected calls"))
def answer(
    model_admin: PagesAdmin, request: HttpRequest, queryset: QuerySet[Call]
) -> HttpResponse | None:
    # With the columns that the list defers: the page shows the arguments.
    calls = model_admin.selected(request, queryset.defer(None).select_related("execution"))
    refusal = ""
    if not all(call.is_open and kind_of(call).takes_answers for call in calls):
        refusal = gettext("Nothing was changed: select only open calls of functions.")
    elif len({call.function for call in calls}) > 1:
        refusal = gettext("Nothing was changed: select calls of a single function only.")
    if refusal:
        model_admin.message_user(request, refusal, messages.ERROR)
    if refusal or not calls:
        return None
    # The form asks for a reason if any of the calls is for a machine.
    instance = next((call for call in calls if kind_of(call) is not PERSON), calls[0])
    data = request.POST if "confirmed" in request.POST else None
    form = form_for(calls[0].function)(data, instance=instance)
    if not form.is_valid():
        return _ask(model_admin, request, calls, form)
    refusals = []
    using = router.db_for_write(Call)
    for call in calls:
        try:
            # A call that is refused must not undo the answers to the others.
            with write(using):
                record_answer(request, call, form)
                model_admin.log_change(request, call, form.history_text())
        except DurableMontyError as exc:
            refusals.append(str(exc))
    model_admin.show_refusals(request, refusals)
    if done := len(calls) - len(refusals):
        text = ngettext("%(count)d call was answered.", "%(count)d calls were answered.", done)
        model_admin.message_user(request, text % {"count": done}, messages.SUCCESS)
    return None


def _ask(
    model_admin: PagesAdmin, request: HttpRequest, calls: Sequence[Call], form: AnswerForm
) -> HttpResponse:
    function, count = calls[0].function, len(calls)
    title = ngettext("Answer %(count)d call", "Answer %(count)d calls", count)
    return model_admin.render_form(
        request,
        "call/answer.html",
        title % {"count": count},
        form,
        fieldsets=[(gettext("Your answer to all of them"), {"fields": answer_fields(function)})],
        function=function,
        purpose=purpose(function),
        rows=[(call, arguments(call)) for call in calls],
        checkbox_name=ACTION_CHECKBOX_NAME,
        back_url=model_admin.list_url(Call),
    )

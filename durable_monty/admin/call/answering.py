"""A call's change form: answering is the change."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext

from durable_monty import operations
from durable_monty.admin.base import ReadOnlyAdmin, page_of
from durable_monty.admin.call.answer_form import AnswerForm, form_for
from durable_monty.exceptions import CallNotFound, CallSettled, ExecutionNotFound
from durable_monty.kinds import kind_of
from durable_monty.models import Call, CallStatus
from durable_monty.wording.times import ago


class Answering(ReadOnlyAdmin):
    """A mixin of the admin of calls."""

    def has_change_permission(self, request: HttpRequest, obj: Call | None = None) -> bool:
        """Answering is the change. A form that was opened in time may come too late: then it
        is not a permission that is missing, and the operation refuses it."""
        if not (
            self.has_view_permission(request)
            and request.user.has_perm("durable_monty.complete_call")
        ):
            return False
        if obj is None:
            return True
        return kind_of(obj).takes_answers and (obj.is_open or request.method == "POST")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST" or object_id is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        call = self.get_object(request, unquote(object_id))
        if call is not None and not call.is_open and self.has_change_permission(request, call):
            return self._refuse(request, call)
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (CallSettled, CallNotFound, ExecutionNotFound):
            # Outside of its transaction, which is rolled back: the history has no entry.
            late = self.get_object(request, unquote(object_id))
            if late is None:
                return super().changeform_view(request, object_id, form_url, extra_context)
            return self._refuse(request, late)

    def get_form(
        self, request: HttpRequest, obj: Call | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None and self.has_change_permission(request, obj):
            kwargs["form"] = form_for(obj.function)
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Call, form: AnswerForm, change: bool) -> None:
        operations.settle_by_hand(
            obj.execution_id,
            obj.call_id,
            form.answer(),
            using=router.db_for_write(Call),
            user=request.user,
            reason=form.cleaned_data["reason"],
        )

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return form.told()

    def response_change(self, request: HttpRequest, obj: Call) -> HttpResponse:
        text = format_html(gettext("The answer to {} was recorded."), self.link_to(obj))
        self.message_user(request, text, messages.SUCCESS)
        if self.get_preserved_filters(request):
            return self.response_post_save_change(request, obj)
        return HttpResponseRedirect(request.get_full_path())

    def _refuse(self, request: HttpRequest, call: Call) -> HttpResponse:
        facts = {
            "call": call,
            "when": ago(call.finished_at or page_of(call).now, page_of(call).now),
            "user": call.completed_by_name,
        }
        if call.status == CallStatus.CANCELLED:
            text = gettext("Nothing was changed: %(call)s was withdrawn %(when)s.")
        elif not call.completed_by_name:
            text = gettext("Nothing was changed: %(call)s was already answered %(when)s.")
        else:
            text = gettext(
                "Nothing was changed: %(call)s was already answered %(when)s, by %(user)s."
            )
        self.message_user(request, text % facts, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

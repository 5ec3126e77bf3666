"""The page that forks an execution."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import operations
from durable_monty.admin.execution.fork_form import ForkForm
from durable_monty.admin.pages import Page, PagesAdmin, key_of, with_reason
from durable_monty.exceptions import DurableMontyError
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.turns import count_open_after, find_open_after

# The form offers to edit the answers of this many calls; the others keep theirs.
OFFERED = 20


class ForkPage(Page):
    name = "fork"
    label = _("Fork…")
    permission = "fork_execution"

    def permits(self, model_admin: PagesAdmin, request: HttpRequest) -> bool:
        # The page shows arguments and results of calls.
        return super().permits(model_admin, request) and model_admin.may_view(Call, request)

    def is_offered(self, row: Execution) -> bool:
        return row.turn > 0

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Execution, **kwargs: Any
    ) -> HttpResponse:
        # Nothing was open after the turn that finished an execution.
        last_turn = max(0, row.turn - 1) if row.is_finished else row.turn
        wanted = request.POST.get("turn", request.GET.get("turn", ""))
        is_number = wanted.isdecimal() and len(wanted) < 10
        turn = min(int(wanted), row.turn) if is_number else last_turn
        # Edited source is new source, which needs the permission to start.
        may_start = model_admin.may(request, "start_execution")
        may_edit = may_start and model_admin.may_view(Program, request)
        if not may_edit and {"source", "functions"} & request.POST.keys():
            raise PermissionDenied
        using = router.db_for_write(Execution)
        form = ForkForm(
            request.POST if request.method == "POST" else None,
            row,
            find_open_after(row, turn, OFFERED, using),
            functions=operations.offered_to(request.user) if may_edit else None,
            again=request.GET.get("again", ""),
        )
        if form.is_valid() and (made := self.fork(model_admin, request, row, turn, form)):
            return HttpResponseRedirect(model_admin.url_of(made))
        return model_admin.render_form(
            request,
            "execution/fork.html",
            gettext("Fork after turn %(turn)d") % {"turn": turn},
            form,
            fieldsets=form.fieldsets(),
            row=row,
            turn=turn,
            last_turn=last_turn,
            calls_left_out=max(0, count_open_after(row, turn, using) - OFFERED),
        )

    def fork(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        execution: Execution,
        turn: int,
        form: ForkForm,
    ) -> Execution | None:
        """Forks, and writes the history of both executions. Errors are shown in the form."""
        using = router.db_for_write(Execution)
        key = key_of(request, execution.pk)
        # Only for the message: the operation itself returns the first fork with this key.
        is_known = Execution.objects.using(using).filter(key=key).exists()
        edits = form.edits(request.user)
        try:
            # Without a transaction: the sandbox runs the source again before anything is written.
            made = operations.fork_execution(
                execution.pk, turn, edits, key=key, on_conflict="return", using=using
            )
        except DurableMontyError as exc:
            form.refuse(exc)
            return None
        if is_known:
            text = gettext("Nothing was changed: this form was sent already.")
            model_admin.message_user(request, text, messages.ERROR)
            return made
        reason = form.cleaned_data["reason"]
        values = {"turn": turn, "origin": execution.pk, "made": made.pk}
        came = gettext("Forked from %(origin)s, after turn %(turn)d.") % values
        model_admin.log_addition(request, made, with_reason(came, reason))
        went = gettext("Forked after turn %(turn)d. The new execution is %(made)s.") % values
        model_admin.log_change(request, execution, with_reason(went, reason))
        text = gettext("Forked. The new execution is {}.")
        done = format_html(text, model_admin.link_to(made))
        model_admin.message_user(request, done, messages.SUCCESS)
        return made

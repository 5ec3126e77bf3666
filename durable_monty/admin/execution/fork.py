"""The page that forks an execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty import operations
from durable_monty.admin.base import page_of
from durable_monty.admin.execution.actions import ExecutionActions, Tool
from durable_monty.admin.execution.fork_form import ForkForm
from durable_monty.admin.formats import moment, state_of
from durable_monty.admin.pages import TOKEN, admin_form, key_of, new_token, with_reason
from durable_monty.exceptions import (
    DurableMontyError,
    FunctionError,
    HostFault,
    TurnNotForkable,
)
from durable_monty.models import Call, Execution, Program
from durable_monty.reads.turns import count_open_after, find_open_after

# Calls whose answers the form offers to edit; the others keep theirs.
OFFERED = 20
# Of an execution's forks the newest are shown.
_FORKS = 20


class ForkPage(ExecutionActions):
    """A mixin of the admin of executions."""

    def object_pages(self) -> dict[str, Callable[..., Any]]:
        return {**super().object_pages(), "fork": self.fork_view}

    def tools(self, request: HttpRequest, execution: Execution) -> list[Tool]:
        tools = super().tools(request, execution)
        if execution.turn and self.may_fork(request):
            tools.append(Tool(gettext("Fork…"), self.page_url(execution, "fork")))
        return tools

    def may_fork(self, request: HttpRequest) -> bool:
        """The page shows arguments and answers."""
        return self.may(request, "fork_execution") and self.may_view(Call, request)

    def lineage(self, execution: Execution) -> list[str]:
        """The fields that say what it was forked from, what was forked from it, and how its
        failure was handled."""
        fields = ["origin"] if execution.forked_from_id is not None else []
        if execution.handled_at is not None:
            fields.append("resolution" if execution.retried_by_id is None else "retry")
        return [*fields, "forks"] if _forks(execution) else fields

    @admin.display(description=_("forked from"))
    def origin(self, execution: Execution) -> SafeString:
        origin = Execution(pk=execution.forked_from_id)
        text = gettext("%(origin)s, after turn %(turn)d") % {
            "origin": origin.short_id,
            "turn": execution.forked_turn,
        }
        return self.link_to(origin, text)

    @admin.display(description=_("retried"))
    def retry(self, execution: Execution) -> SafeString:
        retry = execution.retried_by
        assert retry is not None  # noqa: S101  (shown only then)
        return format_html(
            gettext("{} as {}"),
            moment(execution.handled_at, page_of(execution).now),
            format_html("{} {}", self.link_to(retry), state_of(retry)),
        )

    @admin.display(description=_("forks"))
    def forks(self, execution: Execution) -> SafeString:
        """The newest of them."""
        return format_html_join(", ", "{}", ((self.link_to(fork),) for fork in _forks(execution)))

    def fork_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        execution = self.found(request, object_id, "fork_execution")
        turn = _turn(request, execution)
        may_edit = self.may(request, "start_execution") and self.may_view(Program, request)
        if not self.may_fork(request):
            raise PermissionDenied
        if not may_edit and {"source", "functions"} & request.POST.keys():
            raise PermissionDenied
        using = router.db_for_write(Execution)
        form = ForkForm(
            request.POST if request.method == "POST" else None,
            execution,
            find_open_after(execution, turn, OFFERED, using),
            functions=operations.offered_to(request.user) if may_edit else None,
            again=request.GET.get("again", ""),
        )
        if form.is_valid() and (made := self._fork(request, execution, turn, form)) is not None:
            return HttpResponseRedirect(self.url_of(made))
        return self.render_page(
            request,
            "execution/fork.html",
            gettext("Fork after turn %(turn)d") % {"turn": turn},
            execution,
            turn=turn,
            last_turn=last_turn(execution),
            adminform=admin_form(form, form.fieldsets()),
            calls_left_out=max(0, count_open_after(execution, turn, using) - OFFERED),
            token_name=TOKEN,
            token=request.POST.get(TOKEN) or new_token(),
        )

    def _fork(
        self, request: HttpRequest, execution: Execution, turn: int, form: ForkForm
    ) -> Execution | None:
        using = router.db_for_write(Execution)
        key = key_of(request.POST.get(TOKEN, ""), execution.pk)
        is_known = Execution.objects.using(using).filter(key=key).exists()
        edits = form.edits(request.user)
        try:
            made = operations.fork_execution(
                execution.pk, turn, edits, key=key, on_conflict="return", using=using
            )
        except DurableMontyError as exc:
            form.refuse(exc, _field_of(exc, edits))
            return None
        if is_known:
            text = gettext("Nothing was changed: this form was sent already.")
            self.message_user(request, text, messages.ERROR)
            return made
        reason, facts = form.cleaned_data["reason"], {"turn": turn, "origin": execution.pk}
        came = gettext("Forked from %(origin)s, after turn %(turn)d.") % facts
        self.log_addition(request, made, with_reason(came, reason))
        went = gettext("Forked after turn %(turn)d. The new execution is %(made)s.")
        self.log_change(request, execution, with_reason(went % {**facts, "made": made.pk}, reason))
        done = format_html(gettext("Forked. The new execution is {}."), self.link_to(made))
        self.message_user(request, done, messages.SUCCESS)
        return made


def _field_of(exc: DurableMontyError, edits: operations.Edits) -> str | None:
    match exc:
        case FunctionError():
            return "functions"
        case HostFault() | TurnNotForkable():
            return None
        case _:
            # Of the source only what differs from the recorded one can be to blame.
            return None if edits.code is None else "source"


def _forks(execution: Execution) -> list[Execution]:
    """Read once, however often the page asks."""
    found: list[Execution] | None = vars(execution).get("durable_forks")
    if found is None:
        newest = Execution.objects.using(execution._state.db).filter(forked_from=execution)
        found = list(newest.order_by("-pk").only("name")[:_FORKS])
        vars(execution)["durable_forks"] = found
    return found


def last_turn(execution: Execution) -> int:
    """The last one after which it waited for something, as far as its row tells."""
    return max(0, execution.turn - 1) if execution.is_finished else execution.turn


def _turn(request: HttpRequest, execution: Execution) -> int:
    asked = request.POST.get("turn", request.GET.get("turn", ""))
    if asked.isdecimal() and len(asked) < 10:
        return min(int(asked), execution.turn)
    return last_turn(execution)

"""Verbs in the admin: buttons on an execution's page, actions in the list, and their page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.base import page_of
from durable_monty.admin.execution.refusals import (
    Refusal,
    is_unfit,
    raised_by_itself,
    summary_of,
    was_retried,
)
from durable_monty.admin.execution.verbs import VERBS, Order, Verb
from durable_monty.admin.pages import TOKEN, PagesAdmin, admin_form, key_of, new_token, with_reason
from durable_monty.exceptions import DurableMontyError, NothingToRetry
from durable_monty.models import Execution, ExecutionStatus
from durable_monty.operations.transactions import write
from durable_monty.reads.executions import waits_for_retry


@dataclass(frozen=True, slots=True)
class Tool:
    """A button at the top of a page: a link to `url`, or a form that is sent there."""

    label: str
    url: str
    posts: bool = False
    token: str = ""


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=2_000,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("For the history."),
    )


class VerbForm(ReasonForm):
    new_keys = forms.BooleanField(
        label=_("New idempotency keys"),
        required=False,
        help_text=_(
            "Leave this off if a service outside recognises a second try by the key: it then "
            "does not charge, send or order twice. Turn it on if that service refuses the key of "
            "a failed try."
        ),
    )

    def __init__(self, verb: Verb, data: Any = None) -> None:
        super().__init__(data)
        self.fields["reason"].required = verb.needs_reason
        if not verb.has_keys:
            del self.fields["new_keys"]


class ExecutionActions(PagesAdmin):
    """A mixin of the admin of executions."""

    action_permissions: Mapping[str, str] = {verb.name: verb.permission for verb in VERBS}

    def object_pages(self) -> dict[str, Callable[..., Any]]:
        return {
            **super().object_pages(),
            **{verb.name: partial(self._verb_view, verb) for verb in VERBS},
        }

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["tools"] = self.tools(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def tools(self, request: HttpRequest, execution: Execution) -> list[Tool]:
        token = new_token()
        return [
            Tool(
                f"{verb.label}…" if verb.asks else str(verb.label),
                self.page_url(execution, verb.name),
                posts=not verb.asks,
                token=token,
            )
            for verb in VERBS
            if self.may(request, verb.permission) and _is_offered(verb, execution)
        ]

    def _verb_view(self, verb: Verb, request: HttpRequest, object_id: str) -> HttpResponse:
        execution = self.found(request, object_id, verb.permission)
        if request.method != "POST":
            return self.ask(request, verb, [execution])
        form = VerbForm(verb, request.POST)
        if not form.is_valid():
            return self.ask(request, verb, [execution], form)
        made = self._apply_to_one(request, verb, execution, form.cleaned_data)
        return HttpResponseRedirect(self.url_of(made or execution))

    def ask(
        self,
        request: HttpRequest,
        verb: Verb,
        executions: Sequence[Execution],
        form: forms.Form | None = None,
        *,
        many: bool = False,
    ) -> HttpResponse:
        """The page that says what will happen to which executions, and asks why."""
        form = form or VerbForm(verb)
        if not any(row.is_finished for row in executions):
            form.fields.pop("new_keys", None)  # what is unfinished goes on under its own keys
        return self.render_page(
            request,
            "execution/confirm.html",
            str(verb.title if many else verb.label),
            None if many else executions[0],
            verb=verb,
            fitting=[row for row in executions if verb.fits(row)],
            left_out=[row for row in executions if not verb.fits(row)],
            adminform=admin_form(form, [(None, {"fields": list(form.fields)})]),
            token_name=TOKEN,
            token=request.POST.get(TOKEN) or new_token(),
            back_url=self._list_url() if many else self.url_of(executions[0]),
            checkbox_name=ACTION_CHECKBOX_NAME if many else None,
        )

    def apply_to_many(
        self,
        request: HttpRequest,
        verb: Verb,
        executions: Iterable[Execution],
        given: Mapping[str, Any],
    ) -> None:
        """Does it to each that it fits, and says in one message what came of it."""
        results = [self._apply(request, verb, execution, given) for execution in executions]
        refusals = [result for result in results if isinstance(result, Refusal)]
        done = len(results) - len(refusals)
        parts = [str(verb.done_many % {"count": done})] if done else []
        if refusals:
            parts.append(summary_of(self, refusals))
        level = messages.SUCCESS if not refusals else messages.WARNING if done else messages.ERROR
        text = format_html_join(" ", "{}", ((part,) for part in parts))
        self.message_user(request, text, level)

    def _apply_to_one(
        self, request: HttpRequest, verb: Verb, execution: Execution, given: Mapping[str, Any]
    ) -> Execution | None:
        """Does it, says what came of it, and gives the execution that was made, if any."""
        result = self._apply(request, verb, execution, given)
        if isinstance(result, Refusal):
            self.message_user(request, result.text, result.level)
            return None
        if result is None:
            text = format_html("{}: {}", self.link_to(execution), verb.done)
        else:
            made = format_html(gettext("The new execution is {}."), self.link_to(result))
            text = format_html("{} {}", verb.done, made)
        self.message_user(request, text, messages.SUCCESS)
        return result

    def _apply(
        self, request: HttpRequest, verb: Verb, execution: Execution, given: Mapping[str, Any]
    ) -> Execution | Refusal | None:
        order = Order(
            execution.pk,
            given["reason"],
            key_of(request.POST.get(TOKEN, ""), execution.pk),
            self._using,
            keep_keys=not given.get("new_keys"),
        )
        try:
            refusal = self._refusal(verb, execution, order)
            return refusal or self._carry_out(request, verb, execution, order)
        except NothingToRetry as exc:
            if execution.status == ExecutionStatus.FAILED:
                return raised_by_itself(self, request, execution)
            return Refusal(execution, str(exc), str(exc))
        except DurableMontyError as exc:
            return Refusal(execution, str(exc), str(exc))

    def _refusal(self, verb: Verb, execution: Execution, order: Order) -> Refusal | None:
        if verb.name == "retry" and execution.retried_by is not None:
            return was_retried(self, execution, execution.retried_by)
        if not verb.fits(execution):
            return is_unfit(execution)
        if Execution.objects.using(self._using).filter(key=order.key).exists():
            text = gettext("Nothing was changed: this form was sent already.")
            return Refusal(execution, text, text)
        return None

    def _carry_out(
        self, request: HttpRequest, verb: Verb, execution: Execution, order: Order
    ) -> Execution | None:
        with nullcontext() if verb.replays else write(self._using):
            made = verb.run(order)
            if made is not None and made.key != order.key:
                return made  # somebody else has retried it meanwhile
            text = str(verb.done)
            if made is not None:
                text = gettext("%(done)s The new execution is %(made)s.") % {
                    "done": verb.done,
                    "made": made.pk,
                }
                origin = gettext("Forked from %(origin)s.") % {"origin": execution.pk}
                self.log_addition(request, made, with_reason(origin, order.reason))
            self.log_change(request, execution, with_reason(text, order.reason))
        return made

    def _list_url(self) -> str:
        return reverse(
            "admin:durable_monty_execution_changelist", current_app=self.admin_site.name
        )

    @property
    def _using(self) -> str:
        return router.db_for_write(Execution)


def _bulk(verb: Verb) -> Any:
    def act(
        model_admin: ExecutionActions, request: HttpRequest, queryset: QuerySet[Execution]
    ) -> HttpResponse | None:
        if not (executions := model_admin.chosen(request, queryset)):
            return None
        form = VerbForm(verb, request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return model_admin.ask(request, verb, executions, form, many=True)
        model_admin.apply_to_many(request, verb, executions, form.cleaned_data)
        return None

    act.__name__ = verb.name
    return admin.action(act, description=verb.title)


def _is_offered(verb: Verb, execution: Execution) -> bool:
    if verb.name == "retry" and not execution.is_finished:
        page = page_of(execution)
        return verb.fits(execution) and waits_for_retry(execution, page.now, page.using)
    return verb.fits(execution)


ACTIONS = [_bulk(verb) for verb in VERBS]

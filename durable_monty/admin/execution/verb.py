"""The parts that all verbs share: a button, a page to confirm, an action of the list."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, gettext_lazy as _

from durable_monty.admin.execution.refusals import Refusal, refuse_status, summarize
from durable_monty.admin.pages import (
    Button,
    Page,
    PagesAdmin,
    ReasonForm,
    key_of,
    new_token,
    with_reason,
)
from durable_monty.exceptions import DurableMontyError
from durable_monty.models import Execution
from durable_monty.operations.transactions import write

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True)
class Order:
    """One execution, the reason, and the key of the execution that is made, if any."""

    execution_id: uuid.UUID
    reason: str
    key: str
    using: str
    keep_keys: bool = True


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


class Verb(Page):
    """Something that users do with executions, one on its page or many in the list.

    `name` is also the name of the action; `done_many` takes `count`.
    """

    label: _StrPromise
    title: _StrPromise
    effect: _StrPromise
    done: _StrPromise
    done_many: _StrPromise

    confirms = True
    """Whether one execution is confirmed on a page, with a reason. Many always are."""

    destroys = False
    needs_reason = False
    has_keys = False
    """Whether it may run calls again, so that a form offers new idempotency keys."""

    replays = False
    """Whether it runs the sandbox, so that no transaction may be open around it."""

    def fits(self, execution: Execution) -> bool:
        """Returns whether it can be done with an execution in this state."""
        raise NotImplementedError

    def run(self, order: Order) -> Execution | None:
        """Does it, and returns the new execution if it made one."""
        raise NotImplementedError

    def refuse(self, model_admin: PagesAdmin, execution: Execution) -> Refusal | None:
        return None if self.fits(execution) else refuse_status(execution)

    def explain(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        execution: Execution,
        exc: DurableMontyError,
    ) -> Refusal:
        """Returns the words for an error that the operation raised."""
        return Refusal(execution, str(exc), str(exc))

    def is_offered(self, row: Execution) -> bool:
        return self.fits(row)

    def button(self, model_admin: PagesAdmin, row: Execution) -> Button:
        label = f"{self.label}…" if self.confirms else str(self.label)
        url = model_admin.url_of(row, self.name)
        return Button(label, url, posts=not self.confirms, token=new_token())

    @property
    def action(self) -> Any:
        """Returns the action of the list, which asks for confirmation first."""

        def act(
            model_admin: PagesAdmin, request: HttpRequest, queryset: QuerySet[Execution]
        ) -> HttpResponse | None:
            if not (executions := model_admin.selected(request, queryset)):
                return None
            form = VerbForm(self, request.POST if "confirmed" in request.POST else None)
            if not form.is_valid():
                return self.confirm(model_admin, request, executions, form, many=True)
            self.apply_to_many(model_admin, request, executions, form.cleaned_data)
            return None

        act.__name__ = self.name
        return admin.action(act, description=self.title)

    def respond(
        self, model_admin: PagesAdmin, request: HttpRequest, row: Execution, **kwargs: Any
    ) -> HttpResponse:
        form = VerbForm(self, request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self.confirm(model_admin, request, [row], form)
        result = self.apply(model_admin, request, row, form.cleaned_data)
        if isinstance(result, Refusal):
            model_admin.message_user(request, result.text, result.level)
            return HttpResponseRedirect(model_admin.url_of(row))
        if result is None:
            text = format_html("{}: {}", model_admin.link_to(row), self.done)
        else:
            made = format_html(gettext("The new execution is {}."), model_admin.link_to(result))
            text = format_html("{} {}", self.done, made)
        model_admin.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(model_admin.url_of(result or row))

    def confirm(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        executions: Sequence[Execution],
        form: VerbForm,
        *,
        many: bool = False,
    ) -> HttpResponse:
        """Renders the page that says what will happen to which executions."""
        if not any(row.is_finished for row in executions):
            # An execution that is not finished keeps its own keys.
            form.fields.pop("new_keys", None)
        first = executions[0]
        return model_admin.render_form(
            request,
            "execution/confirm.html",
            str(self.title if many else self.label),
            form,
            row=None if many else first,
            verb=self,
            fitting=[row for row in executions if self.fits(row)],
            left_out=[row for row in executions if not self.fits(row)],
            back_url=model_admin.list_url(Execution) if many else model_admin.url_of(first),
            checkbox_name=ACTION_CHECKBOX_NAME if many else None,
        )

    def apply_to_many(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        executions: Iterable[Execution],
        given: Mapping[str, Any],
    ) -> None:
        """Does it with each execution, and reports all results in one message."""
        results = [self.apply(model_admin, request, row, given) for row in executions]
        refusals = [result for result in results if isinstance(result, Refusal)]
        done = len(results) - len(refusals)
        parts = [str(self.done_many % {"count": done})] if done else []
        if refusals:
            parts.append(summarize(model_admin, refusals))
        level = messages.SUCCESS if not refusals else messages.WARNING if done else messages.ERROR
        text = format_html_join(" ", "{}", ((part,) for part in parts))
        model_admin.message_user(request, text, level)

    def apply(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        execution: Execution,
        given: Mapping[str, Any],
    ) -> Execution | Refusal | None:
        """Does it with one execution and writes the history. Returns the new execution, if any."""
        using = router.db_for_write(Execution)
        key, keep_keys = key_of(request, execution.pk), not given.get("new_keys")
        order = Order(execution.pk, given["reason"], key, using, keep_keys)
        try:
            if refusal := self.refuse(model_admin, execution):
                return refusal
            # A second click sends the same form, and gets its own message.
            if Execution.objects.using(using).filter(key=key).exists():
                text = gettext("Nothing was changed: this form was sent already.")
                return Refusal(execution, text, text)
            # A replay takes seconds: locks must not be held so long.
            with nullcontext() if self.replays else write(using):
                made = self.run(order)
                if made is None or made.key == key:  # else somebody else has just retried it
                    self._log(model_admin, request, execution, order, made)
        except DurableMontyError as exc:
            return self.explain(model_admin, request, execution, exc)
        return made

    def _log(
        self,
        model_admin: PagesAdmin,
        request: HttpRequest,
        execution: Execution,
        order: Order,
        made: Execution | None,
    ) -> None:
        text = str(self.done)
        if made is not None:
            text = gettext("%(done)s The new execution is %(made)s.") % {
                "done": self.done,
                "made": made.pk,
            }
            origin = gettext("Forked from %(origin)s.") % {"origin": execution.pk}
            model_admin.log_addition(request, made, with_reason(origin, order.reason))
        model_admin.log_change(request, execution, with_reason(text, order.reason))

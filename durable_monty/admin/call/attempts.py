from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.formats import block, cut, moment
from durable_monty.models import Attempt, Call

_LATEST = 50
_MESSAGE = 1_000


def has_attempts(call: Call) -> bool:
    """Whether an attempt failed, overran its time or was lost."""
    return bool(call.failures or call.losses or call.attempt > 1)


def attempts_table(call: Call, now: datetime) -> SafeString:
    """The latest attempts that did not answer the call, newest first."""
    attempts = call.attempts.select_related("worker").order_by("-number")[:_LATEST]
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                attempt.number,
                attempt.get_outcome_display(),
                moment(attempt.started_at, now),
                attempt.worker or "-",
                _error(attempt),
            )
            for attempt in attempts
        ),
    )
    heads = [gettext("number"), gettext("outcome"), gettext("started"), gettext("worker")]
    heads.append(gettext("error"))
    return format_html(
        '<table class="dm-attempts"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>',
        format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
        rows,
    )


def _error(attempt: Attempt) -> SafeString | str:
    """With the traceback of the function, for who opens it."""
    text = cut(f"{attempt.error_type}: {attempt.error_message}".strip(": "), _MESSAGE)
    if not attempt.error_traceback:
        return text
    return format_html(
        "<details><summary>{}</summary>{}</details>", text, block(attempt.error_traceback)
    )

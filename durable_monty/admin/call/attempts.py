from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty.admin.formats import block, cut, moment
from durable_monty.models import Call

_LATEST = 50
_MESSAGE = 1_000


def attempts_table(call: Call, now: datetime) -> SafeString:
    """Returns the latest attempts that did not answer the call, newest first."""
    rows = []
    # A retry policy may allow attempts without end.
    for attempt in call.attempts.select_related("worker").order_by("-number")[:_LATEST]:
        error: SafeString | str = cut(
            f"{attempt.error_type}: {attempt.error_message}".strip(": "), _MESSAGE
        )
        if attempt.error_traceback:
            traceback = block(attempt.error_traceback)
            error = format_html("<details><summary>{}</summary>{}</details>", error, traceback)
        started = moment(attempt.started_at, now)
        outcome, worker = attempt.get_outcome_display(), attempt.worker or "-"
        rows.append((attempt.number, outcome, started, worker, error))
    heads = [gettext("number"), gettext("outcome"), gettext("started"), gettext("worker")]
    heads.append(gettext("error"))
    return format_html(
        '<table class="dm-attempts"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>',
        format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
        format_html_join(
            "", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows
        ),
    )

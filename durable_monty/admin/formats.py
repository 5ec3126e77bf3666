"""Pieces of HTML. Everything that comes from rows is escaped here, and long values are cut."""

from __future__ import annotations

import json
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from durable_monty import codec
from durable_monty.models import Execution
from durable_monty.wording.times import ago, exact

# Characters that a page shows: of a value, and of a log or a source.
LONGEST = 20_000
LONG = 100_000

# Paths in a box of 12 x 12. A state has a shape, because not everybody sees its colour.
_CIRCLE = "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9"
_SHAPES = {
    "scheduled": _CIRCLE,
    "pending": _CIRCLE,
    "waiting": f"{_CIRCLE}M6 3.5V6l2 1.5",
    "submitted": "M3.5 2v8l6-4z",
    "paused": "M4 2v8M8 2v8",
    "completed": "M2 6.5l2.8 2.8L10 3",
    "failed": "M2.5 2.5l7 7M9.5 2.5l-7 7",
    "cancelled": f"{_CIRCLE}M2.9 9.1l6.2-6.2",
    "alive": "M2 6.5h2l1.5-4 2 7 1-3H10.5",
    "silent": "M6 2l4.5 8h-9zM6 5v2.5",
    "stopped": "M3 3h6v6h-6z",
}


def badge(state: str, label: object) -> SafeString:
    """Returns a state as text with a shape."""
    return format_html(
        '<span class="dm-state dm-{}"><svg viewBox="0 0 12 12" aria-hidden="true">'
        '<path d="{}"/></svg>{}</span>',
        state,
        _SHAPES[state],
        label,
    )


def state_of(execution: Execution) -> SafeString:
    """Returns the status, and whether a failure was resolved or retried."""
    # A failure that somebody has handled is still a failure, but no alarm.
    shown = badge(execution.status, execution.get_status_display())
    if execution.handled_at is None:
        return shown
    text = gettext("resolved") if execution.retried_by_id is None else gettext("retried")
    return format_html('{} <span class="dm-quiet">{}</span>', shown, text)


def moment(value: datetime | None, now: datetime) -> SafeString | str:
    """Returns `3 min ago`, with the exact time as its title."""
    if value is None:
        return "-"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        exact(value),
        ago(value, now),
    )


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def name_and_id(execution: Execution, name: str | None = None) -> SafeString:
    """Returns two lines: the name, and the start of the id, which a search finds.

    `name` is shown instead of the execution's.
    """
    return format_html(
        '{}<code class="dm-id" title="{}">{}</code>',
        name or execution.name or gettext("(no name)"),
        execution.pk,
        execution.short_id,
    )


def block(text: str, limit: int = LONGEST) -> SafeString:
    return format_html('<pre class="dm-block" tabindex="0">{}</pre>', cut(text, limit))


def json_block(text: str | None) -> SafeString:
    return block(readable(text or ""))


def readable(text: str) -> str:
    """Returns a stored value as people read it, or its readable start if it was cut."""
    try:
        return json.dumps(codec.plain(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return codec.plain_beginning(text)


def editable(text: str) -> str:
    """Returns a stored value with its tags, for a form that stores it again."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def short_arguments(text: str) -> str:
    """Returns `"clip-7", 480` for a JSON list, or its readable start if it was cut."""
    try:
        values = codec.plain(text)
    except (ValueError, RecursionError):
        return codec.plain_beginning(text)
    if not isinstance(values, list):
        return text
    return cut(", ".join(json.dumps(value, ensure_ascii=False) for value in values))


def cut(text: str, limit: int = LONGEST) -> str:
    """Returns at most `limit` characters, with a note of the cut, fit for any page."""
    return codec.clean_text(text, limit)

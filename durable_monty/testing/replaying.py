"""Replays recorded executions on today's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from django.apps import apps

from durable_monty.exceptions import DjangoNotReady, FixtureDiffers, ReplayMismatch
from durable_monty.testing.recordings import read_recordings


def replay(
    fixture: str | Path | Mapping[str, Any],
    workflow: object = None,
    *,
    functions: Iterable[str | Callable[..., Any]] | None = None,
) -> None:
    """Replays the executions of a fixture on today's code, and fails at the first difference.

    `fixture` is a file that `manage.py durable export ID --fixture` wrote, or its content.
    `workflow` is what `play` takes, as it is today. Without one, it is the workflow of the
    recorded name, or the recorded source with the functions of today. `functions` are those that
    a source may call; by default those of the recorded one.

    Raises `FixtureDiffers`, `NotAFixture`, and `HostFault` if the sandbox fails.
    """
    if not apps.ready:
        raise DjangoNotReady("replay()")
    for recording in read_recordings(fixture):
        program = recording.program_today(workflow, functions)
        try:
            last = recording.retrace(program)
        except ReplayMismatch as exc:
            raise FixtureDiffers(recording.label, str(exc)) from exc
        if why := recording.difference(last):
            raise FixtureDiffers(recording.label, why)

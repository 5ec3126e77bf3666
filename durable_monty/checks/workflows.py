"""System checks of the workflows in files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from durable_monty.exceptions import WrongWorkflow
from durable_monty.workflows.registry import WORKFLOW_REGISTRY


@register("durable_monty")
def check_workflows(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Checks what the workflows of this process take along into the sandbox.

    `migrate`, the tests and the commands of this app name their databases, and an error would
    stop them. No table and no other execution depends on a workflow that is wrong, which refuses
    its own starts: so there it is a warning. Django 6.1 names the databases in all commands.
    """
    messages: list[CheckMessage] = []
    for workflow in WORKFLOW_REGISTRY.values():
        try:
            assert workflow.closure  # noqa: S101  (it is made now, and kept)
        except WrongWorkflow as exc:
            for complaint in exc.complaints:
                problem, _dot, remedy = complaint.message.partition(". ")
                place = f"{complaint.file}:{complaint.line}:{complaint.column}"
                text = f"{place}: {problem.removesuffix('.')}."
                hint = remedy or None
                if databases is None:
                    messages.append(Error(text, hint=hint, id="durable_monty.E011"))
                else:
                    messages.append(Warning(text, hint=hint, id="durable_monty.W003"))
    return messages

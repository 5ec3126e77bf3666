"""The workflows of a project's files, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from durable_monty.exceptions import DuplicateWorkflow, InvalidWorkflow, UnknownWorkflow
from durable_monty.functions import searched

if TYPE_CHECKING:
    from durable_monty.workflows.workflow import Workflow


class WorkflowRegistry(Mapping[str, "Workflow[..., Any]"]):
    """Maps names to the workflows that this process has imported."""

    def __init__(self) -> None:
        self._workflows: dict[str, Workflow[..., Any]] = {}

    def __getitem__(self, name: str) -> Workflow[..., Any]:
        return self._workflows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._workflows)

    def __len__(self) -> int:
        return len(self._workflows)

    def add(self, workflow: Workflow[..., Any]) -> None:
        """Adds a workflow, or replaces it if its module was loaded again.

        Raises `DuplicateWorkflow` if a workflow of another place has the name.
        """
        known = self._workflows.get(workflow.name)
        if known is not None and known.place != workflow.place:
            raise DuplicateWorkflow(workflow.name, known.place, workflow.place)
        self._workflows[workflow.name] = workflow

    def remove(self, name: str) -> None:
        del self._workflows[name]

    def find(self, wanted: object) -> Workflow[..., Any]:
        """Returns a workflow by name, or as it is. Raises `UnknownWorkflow`, `InvalidWorkflow`."""
        from durable_monty.workflows.workflow import Workflow

        if isinstance(wanted, Workflow):
            return wanted
        if not isinstance(wanted, str):
            shown = getattr(wanted, "__qualname__", None) or repr(wanted)
            raise InvalidWorkflow(
                f"{shown} is no workflow: start one by its name, or by what @workflow returned."
            )
        if (found := self._workflows.get(wanted)) is None:
            raise UnknownWorkflow(wanted, self._workflows, searched())
        return found


WORKFLOW_REGISTRY = WorkflowRegistry()

"""The start of workflows, as `OrchestratorService` offers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, ParamSpec, overload

from durable_monty import operations
from durable_monty.call_service import CallService
from durable_monty.functions import resolve_functions
from durable_monty.operations.keys import OnConflict
from durable_monty.program_check import check_program
from durable_monty.sandbox import Complaint
from durable_monty.twins import twin
from durable_monty.workflows.registry import WORKFLOW_REGISTRY
from durable_monty.workflows.workflow import Workflow

P = ParamSpec("P")


class StartService(CallService):
    """Starts workflows on the database `using`: those in files, and any source."""

    @overload
    def start(self, workflow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> str: ...
    @overload
    def start(self, workflow: str, /, *args: Any, **kwargs: Any) -> str: ...
    def start(self, workflow: str | Workflow[..., Any], /, *args: Any, **kwargs: Any) -> str:
        """Schedules a workflow in a file and returns its execution id. A worker runs it.

        `workflow` is its name, or the object that `@workflow` made of it; the other arguments are
        its own. `Workflow.options` has the options of a start. The start is part of the caller's
        transaction.

        Raises `UnknownWorkflow`, `InvalidInputs` if the arguments do not fit, `WrongWorkflow` or
        `WrongSource` if the workflow cannot run, and `UnstorableValue`.
        """
        found = WORKFLOW_REGISTRY.find(workflow)
        inputs = found.bind(*args, **kwargs)
        return str(operations.start_workflow(found, inputs, using=self.using).pk)

    _astart = twin(start)

    @overload
    async def astart(
        self, workflow: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> str: ...
    @overload
    async def astart(self, workflow: str, /, *args: Any, **kwargs: Any) -> str: ...
    async def astart(
        self, workflow: str | Workflow[..., Any], /, *args: Any, **kwargs: Any
    ) -> str:
        """Schedules a workflow in a file as `start` does."""
        return await self._astart(workflow, *args, **kwargs)

    def start_execution(
        self,
        code: str,
        external_functions: Iterable[str | Callable[..., Any]],
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        name: str = "",
        label: str = "",
        deadline: timedelta | None = None,
        on_conflict: OnConflict = "raise",
    ) -> str:
        """Schedules a workflow and returns its execution id. A worker runs it.

        The start is part of the caller's transaction: if that rolls back, nothing was started.

        `code` is the source of the workflow. `external_functions` are the functions that it may
        call: registered names, dotted paths, or the functions themselves. `inputs` are its global
        variables. `name` is that of the workflow, the same for each run; `label` tells this run
        from others. `deadline` counts from now. When it passes, the calls that the workflow awaits
        raise TimeoutError; an execution that does not end within `CANCEL_GRACE` fails.

        `key` makes the start idempotent: a second start with the same key returns the id of the
        first. Both must have the same inputs and the same name; if one of them has no name, the
        same functions and the same code, apart from comments and blank lines. If they differ,
        `on_conflict="raise"` raises `KeyConflict`, and "return" returns the first id all the same.

        The code is checked first, as the setting `CHECK` says. Raises `WrongSource`, with its
        `complaints`, for code that can only fail; `InvalidWorkflow`, `InvalidInputs`,
        `UnknownFunction` or `UnstorableValue` for an argument that cannot be used.
        """
        execution = operations.start_execution(
            code,
            external_functions,
            inputs,
            key=key,
            name=name,
            label=label,
            deadline=deadline,
            on_conflict=on_conflict,
            using=self.using,
        )
        return str(execution.pk)

    def check(
        self,
        code: str,
        external_functions: Iterable[str | Callable[..., Any]],
        inputs: Mapping[str, Any] | None = None,
    ) -> list[Complaint]:
        """Returns the mistakes in `code`, in the order of its lines. Runs and stores nothing.

        A complaint has `line`, `column`, `rule` and `message`; lines and columns count from 1.
        `start_execution` refuses the rules in `durable_monty.program_check.REFUSED`. Raises
        `InvalidWorkflow`, `UnknownFunction`, and `HostFault` if the checker itself fails.
        """
        functions = resolve_functions(external_functions)
        operations.check_source(code)
        return list(check_program(code, functions, inputs or {}))

    astart_execution = twin(start_execution)
    acheck = twin(check)

"""`@workflow`: names an `async def` of a module, so that it can be started and run durably."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from asgiref.sync import markcoroutinefunction

from durable_monty.exceptions import InvalidWorkflow
from durable_monty.text_limits import MAX_NAME
from durable_monty.twins import twin
from durable_monty.workflows.binding import bind_inputs
from durable_monty.workflows.registry import WORKFLOW_REGISTRY

if TYPE_CHECKING:
    from durable_monty.sandbox import Complaint
    from durable_monty.workflows.closure import Closure

P = ParamSpec("P")
R = TypeVar("R")


class Workflow(Generic[P, R]):
    """A workflow in a file. Calling it runs it in plain Python; `start` runs it durably."""

    def __init__(self, func: Callable[P, Coroutine[Any, Any, R]], name: str) -> None:
        self.func, self.name = func, name
        update_wrapper(self, func)
        markcoroutinefunction(self)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} at {self.place}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Runs the workflow in plain Python: for tests and shells, durable in no way.

        It is the source that would run in the sandbox. Its functions are those that its module has
        now, so a test can replace them.
        """
        from durable_monty.workflows.plain import run_plain

        return run_plain(self, args, kwargs)

    @property
    def place(self) -> str:
        """The dotted path of its function."""
        name = getattr(self.func, "__qualname__", self.name)
        return f"{getattr(self.func, '__module__', '?')}.{name}"

    @cached_property
    def closure(self) -> Closure:
        """The source that runs in the sandbox. Raises `WrongWorkflow`."""
        # Later names of the module are missing while it decorates; so at the first use.
        from durable_monty.workflows.closure import closure_of

        return closure_of(self.func)

    def check(self) -> list[Complaint]:
        """Returns the mistakes in the workflow, in the order of its lines: for a project's tests.

        It asks the type checker and runs the definitions, in a sandbox process. Raises
        `WrongWorkflow`, and `HostFault` if the sandbox fails.
        """
        from durable_monty.workflows.check import check_closure

        return check_closure(self.closure)

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.func)

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the arguments by name, without defaults. Raises `InvalidInputs`."""
        return bind_inputs(self.name, self.signature, args, kwargs)

    def start(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Schedules a run with these arguments and returns its execution id. A worker runs it.

        The start is part of the caller's transaction. Raises `InvalidInputs` if the arguments do
        not fit, `WrongWorkflow` or `WrongSource` if the workflow cannot run, and
        `UnstorableValue`.
        """
        return Starter(self).start(*args, **kwargs)

    async def astart(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Starts the workflow as `start` does."""
        return await Starter(self).astart(*args, **kwargs)

    def options(
        self,
        *,
        key: str | None = None,
        label: str = "",
        deadline: timedelta | None = None,
        on_conflict: Literal["raise", "return"] = "raise",
        using: str | None = None,
    ) -> Starter[P, R]:
        """Returns an object whose `start` and `astart` start the workflow with these options.

        `key` makes the start idempotent: a second start with the same key returns the id of the
        first, and raises `KeyConflict` if its name or inputs differ, unless `on_conflict` is
        "return". `label` tells people this run from others. When `deadline` has passed, the calls
        that the workflow awaits raise TimeoutError. `using` is the alias of a database.
        """
        return Starter(self, key, label, deadline, on_conflict, using)


@dataclass(frozen=True, slots=True)
class Starter(Generic[P, R]):
    """A workflow with the options of its start."""

    workflow: Workflow[P, R]
    key: str | None = None
    label: str = ""
    deadline: timedelta | None = None
    on_conflict: Literal["raise", "return"] = "raise"
    database: str | None = None

    @property
    def using(self) -> str:
        # Models cannot be imported before the apps are ready, when workflows are.
        from durable_monty.service import OrchestratorService

        return OrchestratorService(self.database).using

    def start(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Schedules a run with these arguments and returns its execution id. A worker runs it."""
        from durable_monty import operations

        inputs = self.workflow.bind(*args, **kwargs)
        execution = operations.start_workflow(
            self.workflow,
            inputs,
            key=self.key,
            label=self.label,
            deadline=self.deadline,
            on_conflict=self.on_conflict,
            using=self.using,
        )
        return str(execution.pk)

    astart = twin(start)


@overload
def workflow(func: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(*, name: str) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Workflow[P, R]]: ...
def workflow(func: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Makes a workflow of an `async def` at the top level of a module.

    Its name is that of the function, or `name`: executions are listed and started by it. Renaming
    the function without `name` makes another workflow of it; executions that have begun go on.

    Decorating reads no source: what cannot be a workflow is found at the first use, and by the
    system checks. Raises `DuplicateWorkflow` if another workflow has the name, and
    `InvalidWorkflow` for a name that cannot be used.
    """

    def decorate(func: Callable[..., Any]) -> Workflow[..., Any]:
        chosen = getattr(func, "__name__", type(func).__name__) if name is None else name
        if not isinstance(chosen, str) or not chosen.strip():
            raise InvalidWorkflow(f"The name of a workflow must be a non-empty str: {chosen!r}.")
        if len(chosen) > MAX_NAME or not chosen.isprintable():
            raise InvalidWorkflow(
                "The name of a workflow must be printable and at most "
                f"{MAX_NAME} characters long: {chosen[:60]!r}."
            )
        made: Workflow[..., Any] = Workflow(func, chosen)
        WORKFLOW_REGISTRY.add(made)
        return made

    return decorate if func is None else decorate(func)

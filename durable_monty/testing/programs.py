"""What may be played: a workflow, the text of one, or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from durable_monty.exceptions import NotPlayable
from durable_monty.functions import FUNCTION_REGISTRY, resolve_functions


class Playable(NamedTuple):
    """A source, and the names in it of functions with their names in the registry.

    `entry` is the function that the source of a workflow in a file calls with its inputs.
    """

    source: str
    functions: Mapping[str, str]
    entry: str = ""


def playable(
    workflow: object,
    functions: Iterable[str | Callable[..., Any]] | None,
    answered: Iterable[str],
) -> Playable:
    """Returns the source of a workflow, a text or a `.py` file, with its functions.

    Without `functions`, a text may call those that have answers, registered or not. Raises
    `NotPlayable`, and `WrongWorkflow` for a workflow that cannot run.
    """
    if (closure := getattr(workflow, "closure", None)) is not None:
        if functions is not None:
            why = "its functions are those that it names: leave out functions=."
            raise NotPlayable(workflow, why)
        return Playable(closure.source, closure.functions, closure.entry)
    source = _source_of(workflow)
    if functions is not None:
        return Playable(source, resolve_functions(functions))
    named = {name: name for name in answered}
    registered = [name for name in named if name in FUNCTION_REGISTRY]
    return Playable(source, named | resolve_functions(registered))


def _source_of(workflow: object) -> str:
    match workflow:
        case str() if not (workflow.endswith(".py") and "\n" not in workflow):
            return workflow
        case str() | Path():
            path = Path(workflow)
        case _ if callable(workflow):
            raise NotPlayable(workflow, "decorate it with @workflow.")
        case _:
            raise NotPlayable(workflow, "give a workflow, a source, or a path to a .py file.")
    if path.suffix != ".py":
        raise NotPlayable(str(path), "the file is not a .py file.")
    try:
        return path.read_text()
    except OSError as exc:
        raise NotPlayable(str(path), f"the file cannot be read: {exc.strerror}.") from exc

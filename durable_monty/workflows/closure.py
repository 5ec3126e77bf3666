"""Takes the source of a workflow out of its file: its function, and the names that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from durable_monty.exceptions import WrongWorkflow
from durable_monty.sandbox import INPUTS
from durable_monty.workflows.blanking import keep_only
from durable_monty.workflows.digest import digest_of
from durable_monty.workflows.entry import entry_of
from durable_monty.workflows.taken import Taken


@dataclass(frozen=True, slots=True)
class Closure:
    """The source of a workflow in place: its function and the names of its module that it uses.

    All else is blank, so line and column are those of the file. The last line of `source`, which
    stands behind the last one of the file, is `await NAME(**_inputs)`. `functions` maps names in
    it to names in the registry, and `entry` is NAME. `file` is the path for people, below the
    project or site-packages; `path` is where the file is on this machine. `digest` stays when the
    code moves, or its comments change. `namespace` has the names of the module, for annotations.
    """

    source: str
    functions: Mapping[str, str]
    entry: str
    file: str
    path: str
    digest: str
    namespace: Mapping[str, Any] = field(compare=False, repr=False)


def closure_of(func: Callable[..., Any]) -> Closure:
    """Returns the closure of a function that `@workflow` decorates.

    Raises `WrongWorkflow` with all that cannot come along into the sandbox. The values of the
    module are those of now, so call it when the module was imported to its end.
    """
    entry = entry_of(func)
    taken = Taken(entry)
    taken.follow()
    lines = entry.file.lines
    kept = keep_only(lines, taken.parts())
    taken.refuse_constructs(kept)
    if taken.complaints:
        raise WrongWorkflow(entry.node.name, sorted({*taken.complaints}))
    functions = dict(sorted(taken.functions.items()))
    call = f"await {entry.node.name}(**{INPUTS})"
    source = f"{kept}\n{call}" if lines[-1] else f"{kept}{call}"
    digest = digest_of(source, functions)
    file = entry.file
    return Closure(
        source, functions, entry.node.name, file.file, file.path, digest, taken.namespace
    )

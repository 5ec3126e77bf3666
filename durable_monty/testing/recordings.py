"""Executions that were recorded in a fixture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from durable_monty import codec
from durable_monty.exceptions import FixtureDiffers, NotAFixture
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.kinds import CallKind
from durable_monty.sandbox import (
    Completed,
    Failed,
    RecordedTurn,
    Suspended,
    Turn,
    Workflow,
    retrace,
)
from durable_monty.testing.played import shown
from durable_monty.testing.programs import Playable, playable
from durable_monty.testing.signatures import fitted
from durable_monty.workflows.registry import WORKFLOW_REGISTRY

_FORMATS = ("durable_monty.fixture/1", "durable_monty.executions/1")


def read_recordings(fixture: str | Path | Mapping[str, Any]) -> list[Recording]:
    """Returns the executions of a fixture. Raises `NotAFixture`."""
    if isinstance(fixture, Mapping):
        name, found = "The fixture", fixture
    else:
        name = str(fixture)
        try:
            found = json.loads(Path(fixture).read_text())
        except OSError as exc:
            raise NotAFixture(name, f"the file cannot be read ({exc.strerror})") from exc
        except ValueError as exc:
            raise NotAFixture(name, f"it is not JSON ({exc})") from exc
    if not isinstance(found, Mapping) or found.get("format") not in _FORMATS:
        raise NotAFixture(name, f'it does not have the format "{_FORMATS[0]}"')
    executions = found["executions"]
    if not all(execution["turn"] for execution in executions):
        raise NotAFixture(name, "it has an execution that had not begun when it was exported")
    return [Recording(f"{name} (execution {each['id']})", each) for each in executions]


@dataclass(frozen=True, slots=True)
class Recording:
    """One execution of a fixture, with the keys of `reads.fixture`."""

    label: str
    content: Mapping[str, Any]

    def program_today(
        self, workflow: object, functions: Iterable[str | Callable[..., Any]] | None
    ) -> Playable:
        """Returns what the arguments of `replay` stand for, with functions that take the recorded
        arguments. Raises `FixtureDiffers`."""
        recorded = self.content["program"]
        program = Playable(recorded["source"], recorded["functions"], recorded["entry"])
        if workflow is None and program.entry:
            name = self.content["name"]
            if (workflow := WORKFLOW_REGISTRY.get(name)) is None:
                why = f"The workflow {name!r} is not known any more: pass the one in its place."
                raise FixtureDiffers(self.label, why)
        if hasattr(workflow, "closure") or functions is not None:
            program = playable(workflow, functions, ())
        elif workflow is not None:
            program = program._replace(source=playable(workflow, (), ()).source)
        for target in program.functions.values():
            if target not in FUNCTION_REGISTRY:
                why = f"The function {target!r} is not registered any more."
                raise FixtureDiffers(self.label, why)
        for call in self.content["calls"]:
            self.check_call(call)
        return program

    def check_call(self, call: Mapping[str, Any]) -> None:
        """Raises `FixtureDiffers` if today's function does not take the arguments of a call."""
        entry = FUNCTION_REGISTRY.get(call["function"])
        # One that failed so in production may fail so today.
        failed_so = (call["error"] or {}).get("type") == "TypeError"
        if call["kind"] != CallKind.FUNCTION or entry is None or failed_so:
            return
        args, kwargs = (codec.decode(as_text(call[name])) for name in ("args", "kwargs"))
        try:
            fitted(entry, args, kwargs)
        except Exception as exc:
            made = shown(call["function"], args, kwargs)
            why = f"Call {call['call_id']}, {made}: {str(exc).rstrip('.')}."
            raise FixtureDiffers(self.label, why) from exc

    def retrace(self, program: Playable) -> Turn:
        """Runs all turns again on a program, and returns the last. Raises `ReplayMismatch`."""
        # They import Django's models.
        from durable_monty.models.execution import UNFINISHED
        from durable_monty.operations.limits import limits_of_settings

        inputs = as_text(self.content["inputs"])
        seed: str = self.content["seed"]
        flow = Workflow(program.source, program.functions, inputs, seed, program.entry)
        *_others, last = retrace(
            flow,
            self.turns(),
            limits_of_settings(),
            lambda: datetime.now(UTC),
            may_end=self.content["status"] not in UNFINISHED,
        )
        return last

    def turns(self) -> list[RecordedTurn]:
        """Returns the turns of its journal."""
        from durable_monty.operations.journal import note_call

        last: int = self.content["turn"]
        turns = {number: RecordedTurn(number, {}, {}) for number in range(1, last + 1)}
        for recorded in self.content["calls"]:
            error = recorded["error"] or {"type": "", "message": ""}
            start, end = recorded["position"]
            has_result = recorded["status"] == "completed"
            columns = recorded | {
                "args": as_text(recorded["args"]),
                "kwargs": as_text(recorded["kwargs"]),
                "result": as_text(recorded["result"]) if has_result else None,
                "position_start": start,
                "position_end": end,
                "error_type": error["type"],
                "error_message": error["message"],
            }
            made, given = recorded["turn"], recorded["delivered_turn"]
            if note_call(SimpleNamespace(**columns), turns.get(made), turns.get(given)):
                turns[given] = replace(turns[given], after_load=True)
        return [*turns.values()]

    def difference(self, last: Turn) -> str:
        """Returns how the end in `last` differs from the recorded one; empty if it does not."""
        status, error = self.content["status"], self.content["error"] or {}
        was = f"failed with {error.get('type')}: {error.get('message')}"
        if status == "completed":
            was = f"returned {codec.decode(as_text(self.content['output']))!r}"
        elif status != "failed":
            return ""
        match last.outcome:
            case Suspended():
                # A time limit, and not the workflow, may have ended one that failed.
                now = "has not come to its end" if status == "completed" else was
            case Completed(output=output):
                is_same = status == "completed" and output == as_text(self.content["output"])
                now = was if is_same else f"returns {codec.decode(output)!r}"
            case Failed() as failed:
                now = f"fails with {failed.error_type}: {failed.message}"
                now = was if was == now.replace("fails", "failed", 1) else now
        return "" if now == was else f"The workflow {was}, and now it {now}."


def as_text(value: Any) -> str:
    """Returns a value as the codec writes it."""
    return json.dumps(value, separators=(",", ":"))

"""Keeps the calls of a run that have no answer yet, and finds them in values that leave it."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from pydantic_monty import FutureSnapshot

from durable_monty.exceptions import UnstorableValue
from durable_monty.sandbox.types import CallRequest, Workflow
from durable_monty.sandbox.unawaited import Leaving, leaving, may_forget
from durable_monty.sandbox.values import NotAwaited, objects_in, to_text

# Longer arguments are not kept: a wide gather may have thousands of calls open.
_LONG = 200


class OpenCalls:
    """The calls without an answer. `known` are those that this process has seen being made, by
    id, without long arguments."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.known: dict[int, CallRequest] = {}
        self._paused: FutureSnapshot | None = None
        self._answered: Collection[int] = ()
        self._loaded: frozenset[int] | None = frozenset()

    def add(self, call: CallRequest) -> None:
        if call.result is None:
            is_long = len(call.args) + len(call.kwargs) > _LONG
            self.known[call.call_id] = call._replace(args="", kwargs="") if is_long else call

    def answer(self, paused: FutureSnapshot, call_ids: Collection[int]) -> None:
        """Notes that a turn begins with these answers, where the sandbox was paused."""
        self._paused, self._answered, self._loaded = paused, call_ids, None
        for call_id in call_ids:
            self.known.pop(call_id, None)

    @property
    def loaded(self) -> frozenset[int]:
        """The calls that were made before a saved interpreter was loaded."""
        if self._loaded is None and self._paused is not None:
            waiting = self._paused.pending_call_ids
            self._loaded = frozenset(waiting).difference(self._answered, self.known)
        return self._loaded or frozenset()

    @property
    def unknown(self) -> tuple[int, ...]:
        """The calls of which the journal must tell whether somebody awaited them."""
        may_be = self.loaded and may_forget(self.workflow.source, self._functions)
        return tuple(self.loaded) if may_be else ()

    def text(self, value: Any, path: str, max_bytes: int | None) -> str:
        """Returns the JSON text of a value that leaves the sandbox.

        The sandbox gives its own objects as texts, and a user's string may be the same. It is
        taken for a call only if that call's answer is still to come, and for another object only
        if the source can let such a one out. Raises `UnstorableValue`, `NotAwaited`.
        """
        text = to_text(value, path, max_bytes)
        for kind, name in objects_in(text):
            if kind == "call":
                call_id = int(name)
                if call_id in self.known or call_id in self.loaded:
                    raise NotAwaited("it", self.known.get(call_id))
            elif self._leaving is None or self._leaving.may_be(kind, name):
                if kind == "function":
                    raise UnstorableValue(path, f"the function {name} cannot leave the workflow")
                raise NotAwaited(name)
        return text

    @cached_property
    def _functions(self) -> frozenset[str]:
        return frozenset(self.workflow.functions)

    @cached_property
    def _leaving(self) -> Leaving | None:
        return leaving(self.workflow.source, self._functions)

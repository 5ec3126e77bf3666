from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from durable_monty.operations.answer import Answer
    from durable_monty.operations.new_calls import NewCall


@runtime_checkable
class InlineRunner(Protocol):
    """An executor whose threads also run inline calls: calls of the worker that have no row yet.

    The engine of the worker uses it. Executors of other packages need not know of it.
    """

    def serves(self) -> tuple[str, ...]:
        """Returns the executor names whose calls it runs."""

    def run_inline(
        self,
        calls: Sequence[NewCall],
        start: Callable[[NewCall], bool],
        answer: Callable[[NewCall, Answer], NewCall | None],
    ) -> None:
        """Runs each call in a thread: calls `start` first, runs the function if that returns True,
        and passes its answer to `answer`. If that returns a call, the same thread may run it
        next."""

    def replace_thread(self, busy: Thread) -> None:
        """Starts another thread in place of `busy`, which `answer` keeps for long."""

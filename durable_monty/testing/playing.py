"""Plays a workflow in the sandbox, without a database and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps

from durable_monty import codec
from durable_monty.exceptions import DjangoNotReady, WrongAnswers
from durable_monty.kinds import Due, kind_stored_as
from durable_monty.sandbox import (
    CallRequest,
    Completed,
    Failed,
    Interpreter,
    Settled,
    Suspended,
    Turn,
    Workflow,
)
from durable_monty.testing.answers import Answers
from durable_monty.testing.played import Played, PlayedCall, PlayError, aware
from durable_monty.testing.programs import playable


def play(
    workflow: object,
    inputs: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
    *,
    functions: Iterable[str | Callable[..., Any]] | None = None,
    run: bool = False,
    now: datetime | None = None,
    seed: str = "play",
) -> Played:
    """Runs a workflow to its end in the sandbox, and returns what it did.

    `workflow` is what `@workflow` made, a source, or the path of a `.py` file. `functions` are
    those that a source may call, as for `start_execution`; without them, those that have answers.
    `inputs` are the arguments of the workflow by name, or the variables of the source.

    `answers` maps the name of a function to its answer: a value, an exception to raise, a function
    to call, or a list of these, one for each call. Arguments must fit the registered function, or
    the call fails with the TypeError of production. `run=True` runs the registered functions that
    have no answer. An answer is final: nothing is retried.

    The workflow's clock begins at `now`, an aware time, and moves only by sleeps, which end at
    once, in the order in which they are due. `seed` is that of `random`.

    Raises `NoAnswer` and others of `KitError`, and as `start_execution` does for `functions` and
    `inputs`.
    """
    if not apps.ready:
        raise DjangoNotReady("play()")
    # They need Django's models, and this module must be importable without its settings.
    from durable_monty.operations.limits import limits_of_settings
    from durable_monty.operations.start import check_inputs, check_source

    given = {} if answers is None else answers
    if not isinstance(given, Mapping):
        raise WrongAnswers(type(given).__name__)
    program = playable(workflow, functions, given)
    check_source(program.source)
    inputs = {} if inputs is None else inputs
    check_inputs(inputs, {} if program.entry else program.functions)
    bind = getattr(workflow, "bind", None)
    variables = dict(inputs) if bind is None else bind(**inputs)
    limits = limits_of_settings()
    text = codec.encode(variables, path="inputs", max_bytes=limits.value_bytes)
    stage = _Stage(program.functions, Answers(given, program.functions, run=run), now)
    flow = Workflow(program.source, program.functions, text, seed, program.entry)
    with Interpreter(flow, limits, lambda: stage.now) as interpreter:
        turn = interpreter.start()
        while isinstance(turn.outcome, Suspended):
            stage.note(turn)
            turn = interpreter.resume(stage.next_answers())
    stage.note(turn)
    return stage.end(turn.outcome)


class _Stage:
    """The world around one run: its time, its calls, and who answers them."""

    def __init__(
        self, functions: Mapping[str, str], answers: Answers, now: datetime | None
    ) -> None:
        self.functions, self._answers = functions, answers
        self.now = datetime.now(UTC) if now is None else aware(f"play(now={now!r})", now)
        self._names = {target: name for name, target in functions.items()}
        self.calls: list[PlayedCall] = []
        self._log: list[str] = []
        self._asked: list[tuple[CallRequest, PlayedCall]] = []
        self._timers: list[tuple[datetime, CallRequest]] = []

    def note(self, turn: Turn) -> None:
        self._log.append(turn.log)
        for request in turn.calls:
            kind = kind_stored_as(request.kind)
            if kind.due is Due.AFTER_DELAY:
                self._timers.append((self.now + timedelta(seconds=request.delay or 0), request))
            elif not kind.is_instant:
                call = PlayedCall(
                    len(self.calls) + 1,
                    self._names[request.function],
                    tuple(codec.decode(request.args)),
                    codec.decode(request.kwargs),
                    self.now,
                )
                self.calls.append(call)
                self._asked.append((request, call))

    def next_answers(self) -> dict[int, Settled]:
        """Returns the answers to all calls of functions, or the sleeps that end next."""
        from durable_monty.operations.journal import settled

        if not self._asked:
            self.now = min(due_at for due_at, _request in self._timers)
            over = [request for due_at, request in self._timers if due_at <= self.now]
            self._timers = [each for each in self._timers if each[0] > self.now]
            return {request.call_id: Settled("null") for request in over}
        asked, self._asked = self._asked, []
        delivered = {}
        for request, call in asked:
            answer = self._answers.give(call, request, self.calls)
            delivered[request.call_id] = settled(answer)
            call.is_answered = True
            if answer.result is not None:
                call.answer = codec.decode(answer.result)
            else:
                call.answer = answer.exc or RuntimeError(answer.error_message)
        return delivered

    def end(self, outcome: Completed | Failed) -> Played:
        error = result = None
        if isinstance(outcome, Failed):
            error = PlayError(outcome.error_type, outcome.message, outcome.traceback)
        else:
            result = codec.decode(outcome.output)
        return Played(result, error, self.calls, "".join(self._log), self.now, self.functions)

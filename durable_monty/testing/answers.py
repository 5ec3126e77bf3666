"""The answers that a test gives to the calls of a workflow."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from durable_monty.exceptions import AnswersUsedUp, NoAnswer, UnknownAnswers
from durable_monty.functions import FUNCTION_REGISTRY, MANUAL_EXECUTOR
from durable_monty.testing.signatures import fitted

if TYPE_CHECKING:
    from durable_monty.operations.answer import Answer
    from durable_monty.sandbox import CallRequest
    from durable_monty.testing.played import PlayedCall


class Answers:
    """Answers calls by the name of their function, in the source or in the registry.

    An answer is a value, an exception (class) to raise, a function to call, or a list of these,
    one for each call. `run` runs registered functions that have none. Raises `UnknownAnswers`.
    """

    def __init__(
        self, given: Mapping[str, Any], functions: Mapping[str, str], *, run: bool
    ) -> None:
        if unknown := given.keys() - functions.keys() - {*functions.values()}:
            raise UnknownAnswers(unknown, functions)
        self._given, self._run = given, run
        self._used: dict[str, int] = {}
        self._execution = uuid.uuid4()

    def give(self, call: PlayedCall, request: CallRequest, asked: Sequence[PlayedCall]) -> Answer:
        """Returns the answer to one call. Raises `NoAnswer`, `AnswersUsedUp`."""
        from durable_monty.operations.answer import Answer

        key = call.name if call.name in self._given else request.function
        entry = FUNCTION_REGISTRY.get(request.function)
        args: Sequence[Any] = call.args
        kwargs: Mapping[str, Any] = call.kwargs
        if entry is not None:
            try:
                args, kwargs = fitted(entry, args, kwargs)
            except Exception as exc:  # noqa: BLE001  (the workflow sees it)
                return Answer.of_exception(exc)
        if key not in self._given:
            by_people = entry is None or entry.executor == MANUAL_EXECUTOR
            if not self._run or by_people:
                hint = "" if by_people else ", or use run=True to run the function"
                raise NoAnswer(call.name, str(call), map(str, asked), hint)
            return self._run_registered(request)
        given = self._given[key]
        if isinstance(given, list):
            used = self._used[key] = self._used.get(key, 0) + 1
            if used > len(given):
                raise AnswersUsedUp(key, str(call), len(given), map(str, asked))
            given = given[used - 1]
        if entry and callable(given) and (given is entry.func or given is entry.current):
            return self._run_registered(request)
        return _answer_of(given, call.name, args, kwargs).fit(request.function)

    def _run_registered(self, request: CallRequest) -> Answer:
        """Runs a function as a worker does, so that it has a current call."""
        from durable_monty.executors.inline import invoke_in_savepoints
        from durable_monty.executors.run import run_function
        from durable_monty.operations.new_calls import NewCall

        call = NewCall.of(self._execution, 1, request)
        return run_function(call, using="default", invoke=invoke_in_savepoints)


def _answer_of(given: object, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Answer:
    from durable_monty.operations.answer import Answer

    if isinstance(given, BaseException):
        return Answer.of_exception(given)
    if isinstance(given, type) and issubclass(given, BaseException):
        return Answer.of_exception(given())
    if not callable(given):
        return Answer.of_result(given, name)
    function: Callable[..., Any] = given
    if inspect.iscoroutinefunction(function):
        function = async_to_sync(function)
    try:
        return Answer.of_result(function(*args, **kwargs), name)
    except Exception as exc:  # noqa: BLE001  (the workflow sees it)
        return Answer.of_exception(exc)

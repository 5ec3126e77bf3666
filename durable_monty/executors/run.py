"""Runs one call. Every executor with Django runs functions through this module."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from durable_monty import codec
from durable_monty.context import running
from durable_monty.exceptions import CallNotFound, IllegalTransition, TransactionLost
from durable_monty.executors.lease import leases
from durable_monty.executors.transactions import open_transactions, put_right
from durable_monty.functions import FUNCTION_REGISTRY, policy_of
from durable_monty.models import Call
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.log import log_calls, log_refusal
from durable_monty.operations.new_calls import NewCall
from durable_monty.operations.settle import (
    Answered,
    record_answers,
    settle_attempt,
    settle_attempts,
)
from durable_monty.operations.transactions import may_pass, write

# Seconds between tries to record an answer. A restart of a database takes a few of them.
_RECORD_WAITS = (0.1, 0.5, 2.0, 5.0, 10.0, None)


def invoke_plainly(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    return function(*args, **kwargs)


Invoke = Callable[[str, Callable[..., Any], Sequence[Any], Mapping[str, Any]], Any]


def run_started(
    call: Call, *, using: str, invoke: Invoke = invoke_plainly, keeps_lease: bool = True
) -> None:
    """Runs a call whose attempt was started here, and records its answer.

    `invoke` calls the function, for an executor that has to do something around it. `keeps_lease`
    lets another thread, on its own connection, renew the lease. Exceptions of the function are
    recorded. This raises only if the database stays out of reach; then the call comes back when
    its lease has run out.
    """
    claimed = ClaimedCall.of(call)
    with leases.kept(claimed, using=using) if keeps_lease else nullcontext():
        if policy_of(call).transactional:
            answer = _answer_in_transaction(call, using, invoke)
        else:
            answer = run_function(call, using, invoke)
        if answer is not None:
            record([(claimed, answer)], using)


def run_function(call: Call | NewCall, using: str, invoke: Invoke = invoke_plainly) -> Answer:
    """Calls the function of a call and returns the answer: its result, or its exception under its
    retry policy. Transactions that the function left open are rolled back, and fail it."""
    function = FUNCTION_REGISTRY[call.function]
    before = open_transactions()
    try:
        with running(call, using=using):
            result = invoke(
                call.function, function, codec.decode(call.args), codec.decode(call.kwargs)
            )
        if lost := put_right(before):
            raise TransactionLost(call.function, lost)
        return Answer.of_result(result, call.function)  # this runs code of the result's classes
    # A function may call sys.exit(), and an async function may raise CancelledError.
    except BaseException as exc:
        put_right(before)
        # Ctrl-C of a person, in a shell that runs functions in its main thread. Workers have
        # a signal handler, so there the function itself raised KeyboardInterrupt.
        in_main = threading.current_thread() is threading.main_thread()
        default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if type(exc) is KeyboardInterrupt and in_main and default:
            raise
        return Answer.of_exception(exc).under(policy_of(call).retry_policy, exc, call.failures + 1)


class _RollBack(Exception):
    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        super().__init__()


def _answer_in_transaction(call: Call, using: str, invoke: Invoke) -> Answer | None:
    """Runs the function in the transaction that records its answer.

    Returns None if the answer was recorded. It also returns None if the answer was refused; then
    the function's writes are rolled back with it.
    """
    try:
        with write(using):
            answer = run_function(call, using, invoke)
            if answer.result is None:
                raise _RollBack(answer)
            try:
                settle_attempt(ClaimedCall.of(call), answer, using=using)
            except (IllegalTransition, CallNotFound) as exc:
                log_refusal(exc)
                raise _RollBack(None) from exc
    except _RollBack as rolled_back:
        return rolled_back.answer
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as exc:
        # The commit found a broken deferred constraint, or the function left the transaction in
        # a state in which its answer cannot be recorded.
        if not connections[using].in_atomic_block:
            connections[using].close()
        policy = policy_of(call).retry_policy
        return Answer.of_exception(exc).under(policy, exc, call.failures + 1)
    return None


def record(answers: Sequence[Answered], using: str) -> None:
    """Records answers. Waits for a database that is out of reach, and at the end for executions
    that other transactions have locked."""
    blocked: list[Answered] = []
    _record(answers, using, blocked)
    _record(blocked, using)


def _record(
    answers: Sequence[Answered], using: str, blocked: list[Answered] | None = None
) -> None:
    if not answers:
        return
    settle = settle_attempts
    for wait in _RECORD_WAITS:
        try:
            refused = settle(answers, using=using, blocked=blocked)
        except Exception as exc:
            passes, is_ours = may_pass(exc), not connections[using].in_atomic_block
            if wait is None or not (is_ours if passes else settle is settle_attempts):
                raise
            claims = [claimed for claimed, _answer in answers]
            log_calls(logging.WARNING, "answers not recorded yet", claims, exc)
            if is_ours:
                connections[using].close()
            if passes:
                time.sleep(wait)
            # On the new connection, as a function may have changed the session of the old one.
            settle = record_answers
            continue
        for refusal in refused:
            log_refusal(refusal)
        return

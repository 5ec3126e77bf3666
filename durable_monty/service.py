"""The public face: start executions, look at them, answer their calls."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, overload

from django.db import router

from durable_monty import codec, conf, operations
from durable_monty.exceptions import ExecutionNotFound, InvalidWorkflow
from durable_monty.functions import resolve_functions
from durable_monty.models import Execution
from durable_monty.operations.answer import Answer
from durable_monty.operations.keys import OnConflict
from durable_monty.program_check import check_program
from durable_monty.reads import executions as reads
from durable_monty.sandbox import Complaint
from durable_monty.twins import twin
from durable_monty.waiting import output_of, pauses


class OrchestratorService:
    """Durable executions on the database `using`, by default the one that the project's routers
    name. Execution ids are str (a UUID is taken too)."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Execution)

    def start_execution(
        self,
        code: str,
        external_functions: Iterable[str | Callable[..., Any]],
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        name: str = "",
        deadline: timedelta | None = None,
        on_conflict: OnConflict = "raise",
    ) -> str:
        """Schedules `code` and gives its execution id; a worker runs it.

        Runs in the caller's transaction: if that rolls back, nothing was started.
        `external_functions`: what it may call: registered names, dotted paths, or the functions
        themselves. `inputs`: its global variables. `key`: starting again with the same key gives
        the same execution. It is the same if the inputs are, and the name, or where one of the
        two has no name, the functions and the code without its comments and blank lines; else
        `on_conflict` says whether this raises `KeyConflict`, or gives that execution ("return").
        `deadline`: from now; when it passes, what the workflow awaits raises
        TimeoutError, and after `CANCEL_GRACE` it is failed.

        The source is checked first, as the setting `CHECK` says. Raises `InvalidWorkflow`
        (`WrongSource` with its `complaints`, if it can only fail), `UnknownFunction`,
        `UnstorableValue`, `KeyConflict`.
        """
        execution = operations.start_execution(
            code,
            external_functions,
            inputs,
            key=key,
            name=name,
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
        """Returns all that is wrong with `code`, in the order of its lines; [] if nothing is.

        Each complaint has `line`, `column`, `rule` and `message`. `start_execution` refuses the
        rules in `durable_monty.program_check.REFUSED`. Nothing is run or stored. Raises
        `InvalidWorkflow`, `UnknownFunction`, and `HostFault` if the checker fails.
        """
        functions = resolve_functions(external_functions)
        operations.check_source(code)
        return list(check_program(code, functions, inputs or {}))

    @overload
    def poll(self, execution_id: str | uuid.UUID) -> dict[str, Any]: ...
    @overload
    def poll(self, execution_id: None = None) -> list[dict[str, Any]]: ...
    def poll(
        self, execution_id: str | uuid.UUID | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The state of one execution, or of all that are unfinished; it changes nothing.

        `{"execution_id", "name", "status", "output", "error", "pending_calls"}`. Raises
        `ExecutionNotFound`.
        """
        if execution_id is None:
            return reads.poll_unfinished(self.using)
        execution = self._find(execution_id)
        return reads.poll(execution, reads.find_open_calls(execution.pk, self.using))

    def get_pending_calls(self, execution_id: str | uuid.UUID) -> list[dict[str, Any]]:
        """The function calls without an answer:
        `[{"call_id", "function_name", "args", "kwargs"}]`. Raises `ExecutionNotFound`."""
        execution = self._find(execution_id)
        return [
            reads.pending_call(call) for call in reads.find_open_calls(execution.pk, self.using)
        ]

    def complete_call(
        self,
        execution_id: str | uuid.UUID,
        call_id: int,
        result: Any,
        *,
        user: Any = None,
        reason: str = "",
    ) -> None:
        """Answers a call with `result`, once.

        Raises `UnstorableValue`, `ExecutionNotFound`, `CallNotFound`, and `CallSettled` if the
        call has its answer or was withdrawn; nothing is changed then.
        """
        self._settle(execution_id, call_id, _result(result), user, reason)

    def fail_call(
        self,
        execution_id: str | uuid.UUID,
        call_id: int,
        error: BaseException | str,
        *,
        user: Any = None,
        reason: str = "",
    ) -> None:
        """Answers a call with an exception, which its `await` raises; a str is a RuntimeError's
        message. Raises as `complete_call` does."""
        if isinstance(error, str):
            answer = Answer.of_error("RuntimeError", error)
        else:
            answer = Answer.of_exception(error)
        self._settle(execution_id, call_id, answer, user, reason)

    def process_execution(self, execution_id: str | uuid.UUID) -> str:
        """Runs one turn by hand, if there is something to run for, and gives the status.

        An execution that a worker holds is left to it. Raises `ExecutionNotFound`.
        """
        execution = self._find(execution_id)
        claimed = operations.claim_executions(1, using=self.using, only=execution.pk)
        with ThreadPoolExecutor(1) as threads:
            operations.advance_executions(claimed, using=self.using, threads=threads)
        return str(self._find(execution_id).status)

    def get_result(self, execution_id: str | uuid.UUID) -> Any:
        """The output. Raises `ExecutionNotFound`, and `ExecutionNotCompleted` with the status and
        error of an execution that has none."""
        return reads.result_of(self._find(execution_id))

    def cancel_execution(
        self, execution_id: str | uuid.UUID, reason: str = "", *, grace: float | None = None
    ) -> None:
        """Asks an execution to end: what it awaits raises BaseException("Cancelled: ..."), which
        `except Exception` lets through and `finally` may clean up after, for `grace` seconds
        (`CANCEL_GRACE`). Raises `ExecutionNotFound`, `ExecutionFinished`."""
        operations.cancel_execution(_parsed(execution_id), reason, using=self.using, grace=grace)

    def terminate_execution(self, execution_id: str | uuid.UUID, reason: str = "") -> None:
        """Ends an execution now, without a clean-up. Raises `ExecutionNotFound`,
        `ExecutionFinished`."""
        operations.terminate_execution(_parsed(execution_id), reason, using=self.using)

    def pause_execution(self, execution_id: str | uuid.UUID, reason: str = "") -> None:
        """Runs no turn of it until `resume_execution`; its open calls go on. Raises
        `ExecutionNotFound`, `ExecutionFinished`."""
        operations.pause_execution(_parsed(execution_id), reason, using=self.using)

    def resume_execution(self, execution_id: str | uuid.UUID) -> None:
        """Lets workers go on with a paused execution, or with one whose replay differed. Raises
        `ExecutionNotFound`, `ExecutionFinished`, `ExecutionNotPaused`."""
        operations.resume_execution(_parsed(execution_id), using=self.using)

    def fork_execution(
        self,
        execution_id: str | uuid.UUID,
        turn: int,
        *,
        code: str | None = None,
        external_functions: Iterable[str | Callable[..., Any]] | None = None,
        answers: Mapping[int, Any] | None = None,
        ask_again: Iterable[int] = (),
        key: str | None = None,
        name: str | None = None,
        on_conflict: OnConflict = "raise",
        keep_keys: bool = False,
    ) -> str:
        """Schedules an execution that goes on from `turn` of this one, and gives its id.

        It has the same journal up to that turn, and nothing is called for it again. `answers`:
        call id -> another result (or an exception), `ask_again`: call ids without an answer, both
        of calls that were open after that turn; the others keep the answers they have got since.
        `code` must do, up to that turn, what was recorded: it is replayed here, `ReplayMismatch`
        if it differs. Turn 0 starts it again. `key`, `on_conflict`: as in `start_execution`; the
        same fork has the same edits. `keep_keys`: calls that are asked again keep their
        idempotency keys.

        Raises `ExecutionNotFound`, `TurnNotForkable`, `UnstorableValue`, `HostFault` if the
        sandbox fails, and as `start_execution` does.
        """
        edited = {call_id: _answer(value) for call_id, value in (answers or {}).items()}
        edits = operations.Edits(
            code,
            external_functions,
            {**edited, **dict.fromkeys(ask_again)},
            name,
            keep_keys=keep_keys,
        )
        options: dict[str, Any] = {"key": key, "on_conflict": on_conflict, "using": self.using}
        return str(operations.fork_execution(_parsed(execution_id), turn, edits, **options).pk)

    def restart_execution(
        self,
        execution_id: str | uuid.UUID,
        *,
        key: str | None = None,
        on_conflict: OnConflict = "raise",
    ) -> str:
        """Schedules the same program with the same inputs again, and gives the id. Raises
        `ExecutionNotFound`, `KeyConflict`."""
        return self.fork_execution(execution_id, 0, key=key, on_conflict=on_conflict)

    def retry_execution(
        self, execution_id: str | uuid.UUID, *, key: str | None = None, keep_keys: bool = True
    ) -> str:
        """Tries failed calls again, and gives the id of the execution that goes on.

        In one that is unfinished, those that wait for a retry are due now. One that failed
        because of a call is forked from the turn before, once, with that call asked again under
        the same idempotency key (`keep_keys=False`: under a new one). If it is that retry which
        failed, retry that one. Raises `NothingToRetry`, and as `fork_execution` does.
        """
        execution = operations.retry_execution(
            _parsed(execution_id), key=key, keep_keys=keep_keys, using=self.using
        )
        return str(execution.pk)

    def resolve_execution(self, execution_id: str | uuid.UUID, reason: str) -> None:
        """Takes a failed execution out of the list of failures, because it needs nothing more.
        Raises `ExecutionNotFound`, `ExecutionNotFailed`."""
        operations.resolve_execution(_parsed(execution_id), reason, using=self.using)

    def unresolve_execution(self, execution_id: str | uuid.UUID) -> None:
        """Lists an execution that was resolved among the failures again. Raises
        `ExecutionNotFound`, `ExecutionNotResolved`."""
        operations.unresolve_execution(_parsed(execution_id), using=self.using)

    def retry_call(self, execution_id: str | uuid.UUID, call_id: int) -> None:
        """Lets a call that waits for a retry be tried now. Raises `ExecutionNotFound`,
        `CallNotFound`, `CallNotWaiting`."""
        operations.retry_call(_parsed(execution_id), call_id, using=self.using)

    def wait(self, execution_id: str | uuid.UUID, timeout: float = 60.0) -> Any:
        """The output, once it is there; `timeout` in seconds. For scripts and tests.

        Raises `WaitTimeout`, and as `get_result` does for an execution that failed.
        """
        for pause in pauses(timeout):
            execution = self._find(execution_id)
            if execution.is_finished or not pause:
                break
            time.sleep(pause)
        return output_of(execution, timeout)

    async def await_(self, execution_id: str | uuid.UUID, timeout: float = 60.0) -> Any:
        """The async twin of `wait`. It sleeps in asyncio: what else the program awaits goes on."""
        for pause in pauses(timeout):
            execution = await self._afind(execution_id)
            if execution.is_finished or not pause:
                break
            await asyncio.sleep(pause)
        return output_of(execution, timeout)

    astart_execution = twin(start_execution)
    acheck = twin(check)
    apoll = twin(poll)
    aget_pending_calls = twin(get_pending_calls)
    acomplete_call = twin(complete_call)
    afail_call = twin(fail_call)
    aprocess_execution = twin(process_execution)
    aget_result = twin(get_result)
    acancel_execution = twin(cancel_execution)
    aterminate_execution = twin(terminate_execution)
    apause_execution = twin(pause_execution)
    aresume_execution = twin(resume_execution)
    afork_execution = twin(fork_execution)
    arestart_execution = twin(restart_execution)
    aretry_execution = twin(retry_execution)
    aresolve_execution = twin(resolve_execution)
    aunresolve_execution = twin(unresolve_execution)
    aretry_call = twin(retry_call)

    def _find(self, execution_id: str | uuid.UUID) -> Execution:
        return reads.get_execution(_parsed(execution_id), self.using)

    _afind = twin(_find)

    def _settle(
        self, execution_id: str | uuid.UUID, call_id: int, answer: Answer, user: Any, reason: str
    ) -> None:
        if not isinstance(call_id, int) or isinstance(call_id, bool):
            raise InvalidWorkflow(f"call_id must be an int, not {call_id!r}.")
        operations.settle_by_hand(
            _parsed(execution_id), call_id, answer, using=self.using, user=user, reason=reason
        )


def _answer(value: Any) -> Answer:
    return Answer.of_exception(value) if isinstance(value, BaseException) else _result(value)


def _result(value: Any) -> Answer:
    limit = conf.current().MAX_VALUE_BYTES
    return Answer(codec.encode(value, path="result", max_bytes=limit))


def _parsed(execution_id: str | uuid.UUID) -> uuid.UUID:
    if isinstance(execution_id, uuid.UUID):
        return execution_id
    try:
        return uuid.UUID(execution_id)
    except (ValueError, AttributeError, TypeError) as exc:
        raise ExecutionNotFound(execution_id) from exc

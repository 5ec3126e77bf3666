"""The public face of durable_monty: starts executions, reads their state, answers their calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

from durable_monty import operations
from durable_monty.call_service import ExecutionId, answer_with, parse_id
from durable_monty.operations.answer import Answer
from durable_monty.operations.keys import OnConflict
from durable_monty.reads import executions as reads
from durable_monty.start_service import StartService
from durable_monty.twins import twin
from durable_monty.waiting import output_of, pauses


class OrchestratorService(StartService):
    """Starts, reads and controls the executions of one database, and answers their calls.

    `using` is the alias of the database; the project's routers choose it by default. Methods take
    an execution id as a str or a UUID and return it as a str; times are seconds. A method that
    takes an id raises `ExecutionNotFound` if there is no such execution. A method that changes an
    execution is one transaction, or part of the caller's; only `process_execution` runs the
    workflow itself. Each method has an async twin with an "a" before its name: `astart_execution`,
    `apoll` and so on. The twin of `wait` is `await_`.
    """

    @overload
    def poll(self, execution_id: ExecutionId) -> dict[str, Any]: ...
    @overload
    def poll(self, execution_id: None = None) -> list[dict[str, Any]]: ...
    def poll(
        self, execution_id: ExecutionId | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Returns the state of an execution, or without an id the states of all unfinished ones.

        A state is `{"execution_id", "name", "label", "version", "status", "output", "error",
        "pending_calls"}`. The version is a number for a workflow in a file, else None. The output
        is None until the execution has completed; the error is "Type: message" or None; a pending
        call is as in `get_pending_calls`, with its "status".
        """
        if execution_id is None:
            return reads.poll_unfinished(self.using)
        execution = self._find(execution_id)
        return reads.poll(execution, reads.find_open_calls(execution.pk, self.using))

    def process_execution(self, execution_id: ExecutionId) -> str:
        """Runs one turn of an execution in this process, if one is due, and returns its status.

        An execution that a worker has claimed is left to it.
        """
        execution = self._find(execution_id)
        claimed = operations.claim_executions(1, using=self.using, only=execution.pk)
        with ThreadPoolExecutor(1) as threads:
            operations.advance_executions(claimed, using=self.using, threads=threads)
        return str(self._find(execution_id).status)

    def get_result(self, execution_id: ExecutionId) -> Any:
        """Returns the output of a completed execution.

        Raises `ExecutionNotCompleted`, with the status and the error, for any other.
        """
        return reads.result_of(self._find(execution_id))

    def cancel_execution(
        self, execution_id: ExecutionId, reason: str = "", *, grace: float | None = None
    ) -> None:
        """Asks an execution to end.

        All that it awaits raises BaseException("Cancelled: ..."), which `except Exception` lets
        through. It may clean up in a `finally` for `grace` seconds (default: `CANCEL_GRACE`); then
        it is terminated. Raises `ExecutionFinished`.
        """
        operations.cancel_execution(parse_id(execution_id), reason, using=self.using, grace=grace)

    def terminate_execution(self, execution_id: ExecutionId, reason: str = "") -> None:
        """Ends an execution at once, without a clean-up. Raises `ExecutionFinished`."""
        operations.terminate_execution(parse_id(execution_id), reason, using=self.using)

    def pause_execution(self, execution_id: ExecutionId, reason: str = "") -> None:
        """Runs no further turn of an execution until `resume_execution`; its open calls go on.

        Raises `ExecutionFinished`.
        """
        operations.pause_execution(parse_id(execution_id), reason, using=self.using)

    def resume_execution(self, execution_id: ExecutionId) -> None:
        """Resumes an execution that was paused, by a person or because its replay differed.

        Raises `ExecutionFinished`, `ExecutionNotPaused`.
        """
        operations.resume_execution(parse_id(execution_id), using=self.using)

    def fork_execution(
        self,
        execution_id: ExecutionId,
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
        """Schedules a copy of an execution that goes on from `turn`, and returns the copy's id.

        The copy has the same journal up to that turn, and runs no function of it again; turn 0
        starts from the beginning. Calls that were open after the turn keep the answers that they
        have got since, apart from two kinds: `answers` maps call ids to other results, or to
        exceptions, and the functions of the call ids in `ask_again` run again. They have new
        idempotency keys, unless `keep_keys` is set.

        `code` and `external_functions` replace the program. The new code is replayed first, and
        must make the same calls up to the turn. `key` and `on_conflict` work as in
        `start_execution`; two forks are the same if turn and edits are.

        Raises `TurnNotForkable`, `ReplayMismatch`, `HostFault` if the sandbox fails, and as
        `start_execution` does.
        """
        settled: dict[int, Answer | None] = {
            call_id: Answer.of_exception(value)
            if isinstance(value, BaseException)
            else answer_with(value)
            for call_id, value in (answers or {}).items()
        }
        settled |= dict.fromkeys(ask_again)
        edits = operations.Edits(code, external_functions, settled, name, keep_keys=keep_keys)
        options: dict[str, Any] = {"key": key, "on_conflict": on_conflict, "using": self.using}
        return str(operations.fork_execution(parse_id(execution_id), turn, edits, **options).pk)

    def restart_execution(
        self,
        execution_id: ExecutionId,
        *,
        key: str | None = None,
        on_conflict: OnConflict = "raise",
    ) -> str:
        """Schedules the same program with the same inputs again, and returns the new id.

        `key` and `on_conflict` work as in `start_execution`.
        """
        return self.fork_execution(execution_id, 0, key=key, on_conflict=on_conflict)

    def retry_execution(
        self, execution_id: ExecutionId, *, key: str | None = None, keep_keys: bool = True
    ) -> str:
        """Runs failed calls again, and returns the id of the execution that goes on.

        In an unfinished execution, the calls that wait for a retry are due at once. An execution
        that failed because of a call is forked from the turn before, and that call runs again
        under its old idempotency key, or with `keep_keys=False` under a new one. An execution is
        forked once: if its retry fails too, retry that one.

        Raises `NothingToRetry`, and as `fork_execution` does.
        """
        execution = operations.retry_execution(
            parse_id(execution_id), key=key, keep_keys=keep_keys, using=self.using
        )
        return str(execution.pk)

    def resolve_execution(self, execution_id: ExecutionId, reason: str) -> None:
        """Removes a failed execution from the list of failures. Raises `ExecutionNotFailed`."""
        operations.resolve_execution(parse_id(execution_id), reason, using=self.using)

    def unresolve_execution(self, execution_id: ExecutionId) -> None:
        """Lists a resolved execution among the failures again. Raises `ExecutionNotResolved`."""
        operations.unresolve_execution(parse_id(execution_id), using=self.using)

    def wait(self, execution_id: ExecutionId, timeout: float = 60.0) -> Any:
        """Waits until an execution has ended, and returns its output. For scripts and tests.

        Raises `WaitTimeout` after `timeout` seconds, and as `get_result` does.
        """
        for pause in pauses(timeout):
            execution = self._find(execution_id)
            if execution.is_finished or not pause:
                break
            time.sleep(pause)
        return output_of(execution, timeout)

    async def await_(self, execution_id: ExecutionId, timeout: float = 60.0) -> Any:
        """Waits as `wait` does, and lets other tasks of the event loop run meanwhile."""
        for pause in pauses(timeout):
            execution = await self._afind(execution_id)
            if execution.is_finished or not pause:
                break
            await asyncio.sleep(pause)
        return output_of(execution, timeout)

    # One line each, not a class decorator: type checkers see the twins' signatures only so.
    apoll = twin(poll)
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

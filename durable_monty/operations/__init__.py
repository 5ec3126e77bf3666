"""Every write: one verb a module, each its own transaction. Nothing else assigns a status."""

from durable_monty.operations.advance import advance_executions
from durable_monty.operations.answer import Answer, ClaimedCall
from durable_monty.operations.api_keys import make_api_key, revoke_api_keys, use_api_key
from durable_monty.operations.attempts import (
    beat_call,
    cut_off_calls,
    lose_calls,
    release_calls,
    renew_calls,
    start_attempts,
    unstart_attempts,
)
from durable_monty.operations.claim import (
    claim_calls,
    claim_executions,
    claim_lost,
    give_back_executions,
    renew_executions,
)
from durable_monty.operations.copies import Edits
from durable_monty.operations.due import find_due
from durable_monty.operations.fork import fork_execution
from durable_monty.operations.job_answers import settle_job, settle_jobs
from durable_monty.operations.jobs import accept_jobs, claim_jobs, watch_job
from durable_monty.operations.pause import pause_execution, resume_execution
from durable_monty.operations.retry import (
    resolve_execution,
    retry_call,
    retry_execution,
    unresolve_execution,
)
from durable_monty.operations.settle import (
    record_answers,
    settle_attempt,
    settle_attempts,
    settle_by_hand,
    settle_timers,
)
from durable_monty.operations.start import (
    check_source,
    offered_to,
    start_execution,
    start_workflow,
)
from durable_monty.operations.stop import (
    cancel_execution,
    expire_executions,
    terminate_execution,
)
from durable_monty.operations.timeouts import settle_overdue
from durable_monty.operations.workers import (
    beat,
    dismiss_replaced,
    dismiss_workers,
    register_worker,
    retire_worker,
)

__all__ = [
    "Answer",
    "ClaimedCall",
    "Edits",
    "accept_jobs",
    "advance_executions",
    "beat",
    "beat_call",
    "cancel_execution",
    "check_source",
    "claim_calls",
    "claim_executions",
    "claim_jobs",
    "claim_lost",
    "cut_off_calls",
    "dismiss_replaced",
    "dismiss_workers",
    "expire_executions",
    "find_due",
    "fork_execution",
    "give_back_executions",
    "lose_calls",
    "make_api_key",
    "offered_to",
    "pause_execution",
    "record_answers",
    "register_worker",
    "release_calls",
    "renew_calls",
    "renew_executions",
    "resolve_execution",
    "resume_execution",
    "retire_worker",
    "retry_call",
    "retry_execution",
    "revoke_api_keys",
    "settle_attempt",
    "settle_attempts",
    "settle_by_hand",
    "settle_job",
    "settle_jobs",
    "settle_overdue",
    "settle_timers",
    "start_attempts",
    "start_execution",
    "start_workflow",
    "terminate_execution",
    "unresolve_execution",
    "unstart_attempts",
    "use_api_key",
    "watch_job",
]

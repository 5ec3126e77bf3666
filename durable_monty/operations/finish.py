"""What happens when an execution ends: it completes, fails, or is cancelled.

Every way takes these steps, in a transaction that has locked the execution:

1. Its open calls are withdrawn, and its snapshot is deleted.
2. The columns of `finished` are written, and its claim is given up.
3. Its end is reported when the transaction has committed.

`finish` takes them all. A commit takes the same ones for a batch: `transitions` has the columns,
`clear_finished` does the first step. The shortcut `Database.commit` completes executions in one
statement; the tests compare both.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime

from durable_monty.models import Execution, ExecutionStatus, Snapshot
from durable_monty.operations.close import close_open_calls
from durable_monty.operations.reports import report_execution
from durable_monty.operations.transitions import finished


def finish(  # noqa: PLR0917
    execution: Execution,
    status: ExecutionStatus,
    error_type: str,
    message: str,
    now: datetime,
    using: str,
) -> None:
    """Ends an execution that the caller has locked."""
    clear_finished([execution.pk], now, using)
    changes = finished(status, now) | {"error_type": error_type, "error_message": message}
    Execution.objects.using(using).filter(pk=execution.pk).update(claim=None, **changes)
    report_execution(execution, changes, using)


def clear_finished(execution_ids: Collection[uuid.UUID], now: datetime, using: str) -> None:
    """Withdraws the open calls of executions that end, and deletes their snapshots."""
    close_open_calls(execution_ids, None, now, using)
    Snapshot.objects.using(using).filter(pk__in=execution_ids).delete()

"""A filter for LOGGING. It imports no models: Django sets up logging before them."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable_monty.context import CallContext

# The call of the function that is running; `durable_monty.context` sets it.
current: ContextVar[CallContext] = ContextVar("durable_monty_call")


class CallFilter(logging.Filter):
    """Adds `execution_id`, `call_id` and `function` to each record, "-" outside of a function.

    Attach it to a handler: then it sees the records of all loggers. It lets every record through,
    and leaves facts that a record has already.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        call = current.get(None)
        for name in ("execution_id", "call_id", "function"):
            if not hasattr(record, name):
                setattr(record, name, "-" if call is None else getattr(call, name))
        return True

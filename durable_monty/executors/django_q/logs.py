"""django-q2 logs two lines for each task at INFO. For ours they are DEBUG: a call is no event."""

from __future__ import annotations

import logging

from django_q.conf import logger
from django_q.utils import get_func_repr

from durable_monty.executors.django_q.task import run_task

# It stands in these lines; the project's own tasks have other functions.
_OURS = f"'{get_func_repr(run_task)}'"


class _Demote(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.INFO or _OURS not in record.getMessage():
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return bool(logger.isEnabledFor(logging.DEBUG))


_demote = _Demote()


def demote_calls() -> None:
    """Called before the processes of a cluster are forked. A second time it changes nothing."""
    logger.addFilter(_demote)

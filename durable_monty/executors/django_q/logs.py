"""Lowers django-q2's two log lines about each task of calls from INFO to DEBUG."""

from __future__ import annotations

import logging

from django_q.conf import logger
from django_q.utils import get_func_repr

from durable_monty.executors.django_q.task import run_task

# These lines contain it. The project's own tasks have other functions, and are logged as before.
_OURS = f"'{get_func_repr(run_task)}'"


class _Demote(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.INFO or _OURS not in record.getMessage():
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return bool(logger.isEnabledFor(logging.DEBUG))


_demote = _Demote()


def demote_calls() -> None:
    """Installs the filter, once. It has to be called before a cluster's processes are forked."""
    logger.addFilter(_demote)

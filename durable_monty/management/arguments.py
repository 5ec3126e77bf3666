"""Types of arguments, and the help formatter, that the commands share."""

from __future__ import annotations

from argparse import ArgumentTypeError, RawDescriptionHelpFormatter

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import DjangoHelpFormatter
from django.db import connections

from durable_monty.durations import DAY
from durable_monty.executors.loading import executor_class


class HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the description."""


def database(text: str) -> str:
    """Returns the alias of a database in DATABASES."""
    if text not in connections:
        raise ArgumentTypeError(f"DATABASES has no {text!r}; it has {', '.join(connections)}.")
    return text


def executor_name(text: str) -> str:
    """Returns the name or dotted path of an executor that can be imported."""
    try:
        executor_class(text)
    except ImproperlyConfigured as exc:
        raise ArgumentTypeError(str(exc)) from exc
    return text


def positive_int(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:  # int() would take " 1_0 ", too
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 1.")
    return int(text)


def pause(text: str) -> float:
    """Returns a pause in seconds, at most a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= DAY:  # NaN is refused, too
        raise ArgumentTypeError(f"{text!r} is not a positive number of seconds, at most a day.")
    return seconds

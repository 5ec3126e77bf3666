"""The base class of the commands, and types of their arguments."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, DjangoHelpFormatter
from django.db import connections, router

from durable_monty.durations import DAY
from durable_monty.executors.loading import executor_class
from durable_monty.models import Execution

# In minutes. A timedelta has a largest value, and a mistyped number exceeds it.
_YEAR = 366 * 24 * 60


class HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the description."""


class DatabaseCommand(BaseCommand):
    """A command that works on one database."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # The exit codes are a table, which Django's own formatter would wrap.
        parser.formatter_class = HelpFormatter
        return parser

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        # One workflow that is wrong must not keep workers from the executions of the others.
        given: dict[Any, Any] = super().get_check_kwargs(options)
        return {**given, "databases": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            type=database,
            # A project may route this app's models to a database of their own.
            default=router.db_for_write(Execution),
            help="The database to use. Default: %(default)s.",
        )


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


def execution_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r} is not an execution id (a UUID).") from exc


def whole_number(text: str) -> int:
    if not text.isdecimal():  # int() would take " 1_0 ", too
        raise ArgumentTypeError(f"{text!r} is not a whole number.")
    return int(text)


def minutes(text: str) -> int:
    """Returns a whole number of minutes, at most a year."""
    number = whole_number(text)
    if number > _YEAR:
        raise ArgumentTypeError(f"{text!r} is more than a year.")
    return number


def positive_int(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
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

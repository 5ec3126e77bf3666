"""What the commands share of their command lines."""

from __future__ import annotations

from argparse import ArgumentTypeError, RawDescriptionHelpFormatter

from django.core.management.base import DjangoHelpFormatter
from django.db import connections


class HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the description."""


def database(text: str) -> str:
    """Returns the alias of a database. Raises `ArgumentTypeError` if there is no such one."""
    if text not in connections:
        raise ArgumentTypeError(f"DATABASES has no {text!r}; it has {', '.join(connections)}.")
    return text

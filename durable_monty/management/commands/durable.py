from __future__ import annotations

import uuid
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, no_translations

from durable_monty.exceptions import ExecutionNotFound
from durable_monty.management.arguments import DatabaseCommand, execution_id
from durable_monty.models import Execution
from durable_monty.reads.export import export_json
from durable_monty.reads.fixture import fixture_json


class Command(DatabaseCommand):
    help = """Works on executions.

  export   prints executions as JSON, with their journals; with --fixture, as tests replay them

Exit codes:
  0  done
  1  the file cannot be written
  2  the options are wrong, or there is no such execution"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        export = actions.add_parser("export", help="Print executions as JSON.")
        export.add_argument("execution_ids", metavar="ID", nargs="+", type=execution_id)
        export.add_argument(
            "--fixture",
            action="store_true",
            help="Print what durable_monty.testing.replay needs. It has the inputs, arguments "
            "and results of the executions, but nothing about people.",
        )
        export.add_argument(
            "--output", metavar="FILE", type=Path, help="Write to a file instead of printing."
        )
        super().add_arguments(export)

    # Programs read the output, so it is English whatever LANGUAGE_CODE says.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        using: str = options["database"]
        ids: list[uuid.UUID] = options["execution_ids"]
        known = Execution.objects.using(using).in_bulk(ids)
        for wanted in ids:
            if wanted not in known:
                raise CommandError(str(ExecutionNotFound(wanted)), returncode=2)
        pieces: Iterable[str]
        pieces = [fixture_json(ids, using)] if options["fixture"] else export_json(ids, using)
        if options["output"] is None:
            for piece in pieces:
                self.stdout.write(piece, ending="")
            return
        try:
            with options["output"].open("w") as file:
                file.writelines(pieces)
        except OSError as exc:
            raise CommandError(f"{options['output']} cannot be written: {exc.strerror}.") from exc

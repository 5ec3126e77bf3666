from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.db import Error

from durable_monty.doctor.deploy import CheckedProgram, check_programs
from durable_monty.exceptions import DatabaseNotMigrated
from durable_monty.management.arguments import DatabaseCommand
from durable_monty.reads.migrated import check_migrated

BREAKS = 1


class Command(DatabaseCommand):
    help = """Checks the sources of all unfinished executions against the functions of this code.
It lists the executions that would break because a function was renamed or removed, or takes other
arguments now. Run it with the new code, before you deploy it.

Exit codes:
  0  nothing would break
  1  something would break, or the database cannot be used
  2  the options are wrong"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help='Print JSON: {"programs": [{"program", "name", "version", "executions", '
            '"examples", "problems": [{"severity", "rule", "message"}]}], "checked", '
            '"executions", "seconds", "ok"}. "programs" holds only those with problems.',
        )
        super().add_arguments(parser)

    # Deploy scripts read the output, so it is English whatever LANGUAGE_CODE says.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        using, begun = options["database"], time.monotonic()
        try:
            check_migrated(using)
            checked = list(check_programs(using))
        except DatabaseNotMigrated as exc:
            raise CommandError(str(exc)) from exc
        except Error as exc:
            raise CommandError(f"The database {using!r} cannot be used: {exc}") from exc
        seconds = time.monotonic() - begun
        if options["json"]:
            found = {
                "programs": [asdict(program) for program in checked if program.problems],
                "checked": len(checked),
                "executions": sum(program.executions for program in checked),
                "seconds": round(seconds, 3),
                "ok": not any(program.breaks for program in checked),
            }
            self.stdout.write(json.dumps(found, indent=2))
        else:
            self._print(checked, seconds)
        if any(program.breaks for program in checked):
            sys.exit(BREAKS)

    def _print(self, checked: Sequence[CheckedProgram], seconds: float) -> None:
        for program in checked:
            if not program.problems:
                continue
            name = f" {program.name!r}" if program.name else ""
            name += f" version {program.version}" if program.version else ""
            more = ", ..." if program.executions > len(program.examples) else ""
            self.stdout.write(
                f"Program {program.program[:12]}{name}, {program.executions:,} unfinished "
                f"executions: {', '.join(program.examples)}{more}"
            )
            for problem in program.problems:
                is_error = problem.severity == "error"
                style = self.style.ERROR if is_error else self.style.WARNING
                line = f"  {problem.severity} [{problem.rule}] {problem.message}"
                self.stdout.write(style(line))
        executions = sum(program.executions for program in checked)
        breaking = [program for program in checked if program.breaks]
        broken = sum(program.executions for program in breaking)
        text = (
            f"Checked {len(checked):,} programs of {executions:,} unfinished executions in "
            f"{seconds:.1f} s: "
        )
        text += f"{broken:,} executions would break." if breaking else "nothing would break."
        self.stdout.write(self.style.ERROR(text) if breaking else self.style.SUCCESS(text))

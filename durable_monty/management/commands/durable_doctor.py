from __future__ import annotations

import json
import sys
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, no_translations
from django.db import Error, router

from durable_monty.doctor.diagnosis import Diagnosis, diagnose
from durable_monty.doctor.findings import Finding
from durable_monty.exceptions import DatabaseNotMigrated, ExecutionNotFound
from durable_monty.management.arguments import HelpFormatter, database
from durable_monty.models import Execution
from durable_monty.operations.repair import repair
from durable_monty.reads.migrated import check_migrated

UNHEALTHY = 1
WRONG_OPTIONS = 2

_YEAR = 366 * 24 * 60  # minutes


class Command(BaseCommand):
    help = """Says why an execution does not move; without an id, looks for what is wrong in the
whole database: late work, and rows that break what must hold.

--fix repairs what can be repaired safely, each in a transaction of its own; the rest is only
reported. It may be used while workers run.

Exit codes:
  0  nothing is wrong
  1  something is wrong; with --fix: something still is
  2  wrong options"""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = HelpFormatter
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "execution", nargs="?", type=_uuid, metavar="EXECUTION_ID", help="Default: all."
        )
        parser.add_argument("--fix", action="store_true", help="Repair what can be.")
        parser.add_argument(
            "--json",
            action="store_true",
            help='Print {"findings": [{"check", "severity", "execution", "call", "message", '
            '"fixable", "fixed"}], "ok"}, and "sentences" about the EXECUTION_ID.',
        )
        parser.add_argument(
            "--limit",
            type=_whole,
            default=1000,
            metavar="N",
            help="List at most N findings of a check, and read the journals and snapshots of the "
            "N newest unfinished executions; 0: all. Default: %(default)s.",
        )
        parser.add_argument(
            "--minutes",
            type=_minutes,
            default=5,
            metavar="N",
            help="Work is late when it has been due for so long. Default: %(default)s.",
        )
        parser.add_argument(
            "--database",
            type=database,
            default=router.db_for_write(Execution),
            help="Default: %(default)s.",
        )

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"]
        try:
            check_migrated(using)
            diagnosis = self._diagnose(options)
            if options["fix"]:
                mended = [_mend(finding, using) for finding in diagnosis.findings]
                diagnosis = _compared(mended, self._diagnose(options))
        except DatabaseNotMigrated as exc:
            diagnosis = Diagnosis((Finding("not-migrated", "error", str(exc)),))
        except ExecutionNotFound as exc:
            message = f"{exc} Is it in another database (--database)?"
            raise CommandError(message, returncode=WRONG_OPTIONS) from exc
        except Error as exc:
            message = f"The database {using!r} cannot be used: {exc}"
            diagnosis = Diagnosis((Finding("unreachable", "error", message),))
        ok = all(finding.fixed for finding in diagnosis.findings)
        if options["json"]:
            self._print_json(diagnosis, ok=ok)
        else:
            self._print(diagnosis)
        if not ok:
            sys.exit(UNHEALTHY)

    def _diagnose(self, options: dict[str, Any]) -> Diagnosis:
        using, limit = options["database"], options["limit"] or None
        late_after = timedelta(minutes=options["minutes"])
        return diagnose(using, limit, late_after, options["execution"])

    def _print_json(self, diagnosis: Diagnosis, *, ok: bool) -> None:
        found: dict[str, Any] = {
            "findings": [asdict(finding) for finding in diagnosis.findings],
            "ok": ok,
        }
        if diagnosis.sentences:
            found["sentences"] = diagnosis.sentences
        self.stdout.write(json.dumps(found, indent=2, default=str))

    def _print(self, diagnosis: Diagnosis) -> None:
        for sentence in diagnosis.sentences:
            self.stdout.write(sentence)
        for finding in diagnosis.findings:
            self.stdout.write(self._style(finding)(_line(finding)))
        fixed = sum(finding.fixed for finding in diagnosis.findings)
        wrong = len(diagnosis.findings) - fixed
        repaired = f"{fixed} repaired, " if fixed else ""
        self.stdout.write(
            f"{repaired}{wrong} wrong." if wrong or fixed else self.style.SUCCESS("Nothing wrong.")
        )

    def _style(self, finding: Finding) -> Any:
        if finding.fixed:
            return self.style.SUCCESS
        return self.style.ERROR if finding.severity == "error" else self.style.WARNING


def _mend(finding: Finding, using: str) -> Finding:
    if not finding.fixable or finding.execution is None:
        return finding
    done = repair(finding.check, finding.execution, finding.call, using=using)
    done = done or "It was repaired meanwhile."
    return replace(finding, fixed=True, message=f"{finding.message} Repaired: {done}")


def _compared(mended: Sequence[Finding], after: Diagnosis) -> Diagnosis:
    """What was repaired and is not found again, and what is found now."""
    still = {finding.identity for finding in after.findings}
    gone = [finding for finding in mended if finding.fixed and finding.identity not in still]
    return Diagnosis((*gone, *after.findings), after.sentences)


def _line(finding: Finding) -> str:
    place = "" if finding.execution is None else f" {finding.execution}"
    if finding.call is not None:
        place += f" call {finding.call}"
    state = "repaired" if finding.fixed else finding.severity
    return f"{state} [{finding.check}]{place}: {finding.message}"


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r} is not an execution id (a UUID).") from exc


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number.")
    return int(text)


def _minutes(text: str) -> int:
    minutes = _whole(text)
    if minutes > _YEAR:
        raise ArgumentTypeError(f"{text!r} is more than a year.")
    return minutes

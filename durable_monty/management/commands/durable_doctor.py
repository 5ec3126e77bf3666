from __future__ import annotations

import json
import sys
import uuid
from argparse import ArgumentParser
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, no_translations
from django.db import Error

from durable_monty.doctor.diagnosis import Diagnosis, diagnose
from durable_monty.doctor.findings import Finding
from durable_monty.exceptions import DatabaseNotMigrated, ExecutionNotFound
from durable_monty.management.arguments import DatabaseCommand, execution_id, minutes, whole_number
from durable_monty.operations.repair import repair
from durable_monty.reads.migrated import check_migrated

UNHEALTHY = 1
WRONG_OPTIONS = 2


class Command(DatabaseCommand):
    help = """Explains why an execution does not move. Without an id, it checks the whole database
for late work and for rows that break an invariant.

--fix repairs the rows that can be repaired safely, each in a transaction of its own, and only
reports the others. You can use it while workers run.

Exit codes:
  0  nothing is wrong
  1  something is wrong, or with --fix something is still wrong
  2  the options are wrong, or there is no such execution"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "execution",
            nargs="?",
            type=execution_id,
            metavar="EXECUTION_ID",
            help="The execution to explain. Default: check all data.",
        )
        parser.add_argument(
            "--fix", action="store_true", help="Repair everything that can be repaired safely."
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help='Print JSON: {"findings": [{"check", "severity", "execution", "call", "message", '
            '"fixable", "fixed"}], "ok"}. With an EXECUTION_ID it also has "sentences".',
        )
        parser.add_argument(
            "--limit",
            type=whole_number,
            default=1000,
            metavar="N",
            help="List at most N findings of each check, and read the journals and snapshots of "
            "the N newest unfinished executions. 0 means all. Default: %(default)s.",
        )
        parser.add_argument(
            "--minutes",
            type=minutes,
            default=5,
            metavar="N",
            help="Report work as late when it has been due for N minutes. Default: %(default)s.",
        )
        super().add_arguments(parser)

    # Its output is read beside the logs, which are in English.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        using, limit = options["database"], options["limit"] or None
        chosen = (using, limit, timedelta(minutes=options["minutes"]), options["execution"])
        try:
            check_migrated(using)
            diagnosis = diagnose(*chosen)
            if options["fix"]:
                repaired = [
                    _repair(finding, finding.execution, using)
                    for finding in diagnosis.findings
                    if finding.fixable and finding.execution is not None
                ]
                diagnosis = diagnose(*chosen)
                # A row that is broken again, or still, is reported as such.
                still = {finding.identity for finding in diagnosis.findings}
                gone = [finding for finding in repaired if finding.identity not in still]
                diagnosis = replace(diagnosis, findings=(*gone, *diagnosis.findings))
        except DatabaseNotMigrated as exc:
            diagnosis = Diagnosis((Finding("not-migrated", "error", str(exc)),))
        except ExecutionNotFound as exc:
            message = f"{exc} Is it in another database (--database)?"
            raise CommandError(message, returncode=WRONG_OPTIONS) from exc
        except Error as exc:
            message = f"The database {using!r} cannot be used: {exc}"
            diagnosis = Diagnosis((Finding("unreachable", "error", message),))
        self._print(diagnosis, as_json=options["json"])
        if not diagnosis.is_healthy:
            sys.exit(UNHEALTHY)

    def _print(self, diagnosis: Diagnosis, *, as_json: bool) -> None:
        if as_json:
            found: dict[str, Any] = {"findings": [asdict(each) for each in diagnosis.findings]}
            found["ok"] = diagnosis.is_healthy
            if diagnosis.sentences:
                found["sentences"] = diagnosis.sentences
            self.stdout.write(json.dumps(found, indent=2, default=str))
            return
        for sentence in diagnosis.sentences:
            self.stdout.write(sentence)
        for finding in diagnosis.findings:
            style = self.style.ERROR if finding.severity == "error" else self.style.WARNING
            self.stdout.write(str(finding), self.style.SUCCESS if finding.fixed else style)
        fixed = sum(finding.fixed for finding in diagnosis.findings)
        wrong = len(diagnosis.findings) - fixed
        if wrong or fixed:
            self.stdout.write(f"{f'{fixed} repaired, ' if fixed else ''}{wrong} wrong.")
        else:
            self.stdout.write("Nothing wrong.", self.style.SUCCESS)


def _repair(finding: Finding, execution_id: uuid.UUID, using: str) -> Finding:
    done = repair(finding.check, execution_id, finding.call, using=using)
    # Another process may have been quicker, or a worker has moved the row on.
    done = done or "It was repaired meanwhile."
    return replace(finding, fixed=True, message=f"{finding.message} Repaired: {done}")

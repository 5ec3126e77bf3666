"""What came of it all: figures, and what is wrong."""

import json
from collections import Counter
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db.models import F, Sum

from durable_monty import Call, Execution, codec
from durable_monty.models import Attempt
from tests.chaos.models import Booking
from tests.chaos.workflows import kind_of


@dataclass(slots=True)
class Verdict:
    figures: dict = field(default_factory=dict)
    wrong: list = field(default_factory=list)


def judge(workflows, notes):
    """`workflows`: how many were started. `notes`: the file of the ordinary effects."""
    verdict = Verdict()
    _judge_executions(workflows, verdict)
    _judge_bookings(workflows, verdict)
    _judge_notes(workflows, Path(notes), verdict)
    _ask_the_doctor(verdict)
    attempts = Attempt.objects.values_list("outcome", flat=True)
    calls = Call.objects.filter(attempt__gt=0)
    verdict.figures |= {
        "calls": calls.count(),
        "calls attempted more than once": calls.filter(attempt__gt=1).count(),
        "attempts beyond the first": calls.aggregate(n=Sum(F("attempt") - 1))["n"] or 0,
        "attempts that failed": Counter(attempts)["failed"],
        "attempts that were lost": Counter(attempts)["lost"],
        "calls given up": calls.filter(error_message__contains="was given up").count(),
    }
    return verdict


def _judge_executions(workflows, verdict):
    found = {execution.key: execution for execution in Execution.objects.all()}
    for n in range(workflows):
        kind = kind_of(n)
        execution = found.pop(f"chaos {n}", None)
        if execution is None:
            verdict.wrong.append(f"workflow {n} ({kind.name}) is lost")
            continue
        output = None if execution.output is None else codec.decode(execution.output)
        if (execution.status, output) != (kind.status, kind.output(n)):
            verdict.wrong.append(
                f"workflow {n} ({kind.name}), {execution.pk}: {execution.status}, {output!r} "
                f"{execution.error_type} {execution.error_message}"
            )
    verdict.wrong += [f"execution {key!r} was not started" for key in found]


def _judge_bookings(workflows, verdict):
    booked = Counter(Booking.objects.values_list("workflow", "step"))
    wanted = Counter((n, step) for n in range(workflows) for step in kind_of(n).books)
    verdict.figures["transactional effects"] = booked.total()
    verdict.wrong += [
        f"booked {booked[effect]} times: {effect}"
        for effect in sorted(booked | wanted)
        if booked[effect] != wanted[effect]
    ]


def _judge_notes(workflows, notes, verdict):
    lines = notes.read_text().splitlines() if notes.exists() else []
    noted = Counter((int(n), step) for n, step in (line.split(" ", 1) for line in lines))
    wanted = {(n, step) for n in range(workflows) for step in kind_of(n).notes}
    verdict.figures["ordinary effects"] = len(noted)
    verdict.figures["ordinary effects repeated"] = noted.total() - len(noted)
    verdict.wrong += [f"noted, or not: {effect}" for effect in sorted({*noted} ^ wanted)]


def _ask_the_doctor(verdict):
    output = StringIO()
    try:
        call_command("durable_doctor", "--json", "--limit=0", stdout=output)
    except SystemExit:
        verdict.wrong += [
            f"doctor: {finding['message']}"
            for finding in json.loads(output.getvalue())["findings"]
        ]

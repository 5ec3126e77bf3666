"""Checks of the invariants of a journal, of its attempts and of its snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import Count, F, Max, Q, QuerySet

from durable_monty.doctor.findings import Check, Finding, Scope
from durable_monty.exceptions import SnapshotUnusable
from durable_monty.kinds import INSTANT
from durable_monty.models import Attempt, CallStatus, Snapshot
from durable_monty.models.execution import FINISHED
from durable_monty.operations.run import dump_of

_RESTORE = (
    "Its journal and its row do not belong together, as after a partial restore, and replay will "
    "stop. Restore both from one backup, or terminate it and start it again."
)


def journals(scope: Scope) -> Iterator[Finding]:
    # Every turn but the first was given an answer. Gaps between the numbers of calls are no fault:
    # a call that was refused at once has a number and no row.
    answered = ~Q(calls__kind__in=INSTANT)
    rows = (
        scope.journals()
        .order_by("pk")
        .values_list("pk", "turn", "call_count")
        .annotate(
            rows=Count("calls"),
            made=Max("calls__turn"),
            delivered=Max("calls__delivered_turn"),
            turns=Count("calls__delivered_turn", distinct=True, filter=answered),
        )
        .filter(
            ~Q(rows=F("call_count"))
            | Q(made__gt=F("turn"))
            | Q(delivered__gt=F("turn"))
            # Not turns = turn - 1: MySQL's unsigned 0 - 1 is an error.
            | Q(turn__gt=0) & ~Q(turn=F("turns") + 1)
        )
    )
    for pk, turn, call_count, count, made, delivered, turns in scope.cut(rows):
        last = max(made or 0, delivered or 0)
        if last > turn:
            check, what = "turn-ahead", f"It is at turn {turn}, but its calls are at turn {last}."
        elif count != call_count:
            check, what = "call-count", f"It made {call_count} calls, but {count} are stored."
        else:
            check = "turn-without-answer"
            what = f"It ran {turn} turns, but answers were delivered in {turns} of the later ones."
        yield Finding(check, "error", f"{what} {_RESTORE}", pk)


def delivered_too_early(scope: Scope) -> Iterator[Finding]:
    # Only a reading of the clock is answered in the turn that made it.
    clock = Q(kind__in=INSTANT)
    wrong = (~clock & Q(delivered_turn__lte=F("turn"))) | (
        clock & ~Q(delivered_turn=F("turn")) & Q(delivered_turn__isnull=False)
    )
    calls = scope.calls().filter(wrong, execution__in=scope.journals()).order_by("pk")
    for execution_id, call_id, function, turn, delivered in scope.cut(
        calls.values_list("execution_id", "call_id", "function", "turn", "delivered_turn")
    ):
        yield Finding(
            "delivered-too-early",
            "error",
            f"{function}() was made in turn {turn}, and its answer delivered in turn {delivered}. "
            f"{_RESTORE}",
            execution_id,
            call_id,
        )


def attempt_numbers(scope: Scope) -> Iterator[Finding]:
    attempts = Attempt.objects.using(scope.using).filter(call__finished_at=None)
    if scope.execution_id is not None:
        attempts = attempts.filter(call__execution_id=scope.execution_id)
    # Numbers are unique: the row of the next attempt could not be inserted.
    running = Q(call__status=CallStatus.SUBMITTED, call__started_at__isnull=False)
    wrong = attempts.filter(
        Q(number__gt=F("call__attempt")) | running & Q(number=F("call__attempt"))
    )
    columns = ("call__execution_id", "call__call_id", "call__function", "call__attempt")
    groups = wrong.order_by("call_id").values_list("call_id", *columns).annotate(Max("number"))
    for _pk, execution_id, call_id, function, attempt, last in scope.cut(groups):
        yield Finding(
            "attempt-numbers",
            "error",
            f"{function}() is at attempt {attempt}, but attempt {last} has already ended: the end "
            "of the next one cannot be recorded. Go on counting from there (--fix).",
            execution_id,
            call_id,
            fixable=True,
        )


def snapshots_ahead(scope: Scope) -> Iterator[Finding]:
    # A commit writes the turn and its snapshot together: a restore may have brought only one back.
    ahead = _snapshots(scope).filter(turn__gt=F("execution__turn"))
    for pk, turn, at in scope.cut(ahead.values_list("pk", "turn", "execution__turn")):
        yield Finding(
            "snapshot-ahead",
            "error",
            f"Its snapshot is of turn {turn}, but it is at turn {at}. Delete the snapshot "
            "(--fix): the next turn is replayed from the journal.",
            pk,
            fixable=True,
        )


def snapshots_of_finished(scope: Scope) -> Iterator[Finding]:
    kept = _snapshots(scope).filter(execution__status__in=FINISHED)
    for pk in scope.cut(kept.values_list("pk", flat=True)):
        yield Finding(
            "snapshot-of-finished",
            "warning",
            "It has finished, and its snapshot only takes room. Delete the snapshot (--fix).",
            pk,
            fixable=True,
        )


def snapshots_unreadable(scope: Scope) -> Iterator[Finding]:
    stored = F("execution__program__dictionary")
    snapshots = _snapshots(scope).annotate(stored=stored).order_by("-pk")
    # Each is verified and inflated, as a worker would do: the newest ones are a fair sample.
    sample = snapshots if scope.limit is None else snapshots[: scope.limit]
    for snapshot in sample.iterator(chunk_size=100):
        try:
            dump_of(snapshot, snapshot.stored)
        except SnapshotUnusable as exc:
            yield Finding(
                "snapshot-unreadable",
                "warning",
                f"{exc} Nothing is lost: the next turn is replayed from the journal and saves a "
                "new one. If there are many, see whether SECRET_KEY was changed; the old key "
                "belongs into SECRET_KEY_FALLBACKS.",
                snapshot.pk,
            )


def _snapshots(scope: Scope) -> QuerySet[Snapshot]:
    snapshots = Snapshot.objects.using(scope.using).order_by("pk")
    if scope.execution_id is None:
        return snapshots
    return snapshots.filter(pk=scope.execution_id)


JOURNAL: Sequence[Check] = (
    journals,
    delivered_too_early,
    attempt_numbers,
    snapshots_ahead,
    snapshots_of_finished,
    snapshots_unreadable,
)

"""The kinds of calls: one row says all that sets a kind apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from django.db.models import Q, TextChoices
from django.utils.translation import gettext_lazy as _

from durable_monty.functions import MANUAL_EXECUTOR

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# The executor of the calls that the engine answers itself.
ENGINE = "engine"


class CallKind(TextChoices):
    """The values of `Call.kind`."""

    FUNCTION = "function", _("Function")
    TIMER = "timer", _("Timer")
    CLOCK = "clock", _("Clock")


class Due(Enum):
    """Says when a worker must first look at an open call."""

    AT_ONCE = auto()
    AFTER_DELAY = auto()  # the last argument, in seconds; never if it is None
    NEVER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the package must know of a kind of call."""

    stored: CallKind
    # None: the executor that the function is registered with.
    executor: str | None
    # The names that these calls have in the journal; empty: those of registered functions.
    functions: tuple[str, ...] = ()
    due: Due
    # JSON text of the result that the engine gives when the call is due.
    result_when_due: str | None = None
    # A worker runs a function for it: inline where it can, and again after an error.
    is_run: bool
    # The turn that makes it answers it, and replay takes that answer as a part of the call.
    is_instant: bool
    # A database's shortcut may insert one that has no answer yet.
    has_shortcut: bool
    # A worker or a person answers it, and a fork may give it another answer.
    takes_answers: bool
    # A fork asks for an open one anew; if not, its time goes on as it was.
    is_made_again: bool
    # What the doctor says of an open one that has no due time; empty: it needs none.
    undue: str
    # The name of the phase that it begins with, see `reads.phases`.
    first_phase: str
    waits_for: StrOrPromise

    @property
    def rows(self) -> Q:
        """The calls of this kind, by the columns that the indexes begin with."""
        if self.executor is None:
            return Q(kind=self.stored) & ~Q(executor=MANUAL_EXECUTOR)
        if not self.functions:
            return Q(executor=self.executor)
        return Q(executor=self.executor, function__in=self.functions)


FUNCTION = Kind(
    stored=CallKind.FUNCTION,
    executor=None,
    due=Due.AT_ONCE,
    is_run=True,
    is_instant=False,
    has_shortcut=True,
    takes_answers=True,
    is_made_again=True,
    undue="No worker will ever look at it",
    first_phase="queued",
    waits_for=_("a worker"),
)
# A function whose calls people answer: its executor alone tells it from the others.
PERSON = Kind(
    stored=CallKind.FUNCTION,
    executor=MANUAL_EXECUTOR,
    due=Due.NEVER,
    is_run=False,
    is_instant=False,
    has_shortcut=True,
    takes_answers=True,
    is_made_again=True,
    undue="",
    first_phase="person",
    waits_for=_("a person"),
)
TIMER = Kind(
    stored=CallKind.TIMER,
    executor=ENGINE,
    functions=("asyncio.sleep",),
    due=Due.AFTER_DELAY,
    result_when_due="null",
    is_run=False,
    is_instant=False,
    has_shortcut=True,
    takes_answers=False,
    is_made_again=False,
    undue="It never ends",
    first_phase="sleep",
    waits_for=_("a sleep"),
)
CLOCK = Kind(
    stored=CallKind.CLOCK,
    executor=ENGINE,
    functions=("datetime.now", "date.today", "time.time"),
    due=Due.AT_ONCE,
    is_run=False,
    is_instant=True,
    has_shortcut=True,
    takes_answers=False,
    is_made_again=False,
    undue="No worker will ever look at it",
    first_phase="running",
    waits_for=_("a worker"),
)

KINDS = (FUNCTION, PERSON, TIMER, CLOCK)
ANSWERED_WHEN_DUE = tuple(kind for kind in KINDS if kind.result_when_due is not None)
INSTANT = tuple(kind.stored for kind in KINDS if kind.is_instant)
# They serve calls that no worker runs.
FIXED_EXECUTORS = frozenset(kind.executor for kind in KINDS if kind.executor is not None)
_STORED = {kind.stored.value: kind for kind in KINDS if kind is not PERSON}


class HasKind(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def executor(self) -> str: ...


def kind_of(call: HasKind) -> Kind:
    """Returns the row of a call, or of anything that has a call's `kind` and `executor`."""
    return PERSON if call.executor == MANUAL_EXECUTOR else _STORED[call.kind]


def kind_stored_as(name: str) -> Kind:
    """Returns the row of a value of `Call.kind`: of a function, whoever answers it."""
    return _STORED[name]

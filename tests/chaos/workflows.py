"""What runs while everything around it breaks, and what must have come of it."""

import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from durable_monty import Retry, current_call, register_function
from tests.chaos.models import Booking

# A database that restarts fails functions which use it.
_PATIENT = Retry(max_attempts=50, initial=0.05, backoff=1.5, max_interval=1.0)
_SECONDS = 0.02


@register_function("chaos_note", retry=_PATIENT)
def note(workflow, step):
    time.sleep(_SECONDS)
    with Path(settings.CHAOS_NOTES).open("a") as file:
        file.write(f"{workflow} {step}\n")
    time.sleep(_SECONDS)
    return step


@register_function("chaos_book", retry=_PATIENT, transactional=True)
def book(workflow, step):
    Booking.objects.create(workflow=workflow, step=step)
    time.sleep(_SECONDS)
    return step


@register_function("chaos_stumble", retry=_PATIENT)
def stumble(workflow, step):
    if current_call().attempt <= 2:
        raise OSError("not yet")
    return note(workflow, step)


@register_function("chaos_refuse")
def refuse(workflow, step):
    raise ValueError(f"{workflow} may not {step}")


@register_function("chaos_approve", executor="manual")
def approve(workflow: int) -> int:
    """Answered with `approval_of(workflow)`."""


def approval_of(workflow):
    return 7 * workflow


# A call that loses three workers in a row is given up; this is what a workflow can do then.
_PRELUDE = """
from asyncio import gather, sleep
from datetime import datetime

def check(error):
    if "was given up" not in str(error):
        raise error

async def note(step):
    while True:
        try:
            return await chaos_note(n, step)
        except RuntimeError as error:
            check(error)

async def book(step):
    while True:
        try:
            return await chaos_book(n, step)
        except RuntimeError as error:
            check(error)

async def stumble(step):
    while True:
        try:
            return await chaos_stumble(n, step)
        except RuntimeError as error:
            check(error)

async def refuse(step):
    while True:
        try:
            return await chaos_refuse(n, step)
        except RuntimeError as error:
            check(error)
"""
FUNCTIONS = ["chaos_note", "chaos_book", "chaos_stumble", "chaos_refuse", "chaos_approve"]


@dataclass(frozen=True, slots=True)
class Kind:
    """`output`: of workflow n. `notes` and `books`: the steps with an effect."""

    name: str
    code: str
    output: object
    notes: tuple[str, ...]
    books: tuple[str, ...]
    status: str = "completed"

    @property
    def source(self):
        return _PRELUDE + self.code


KINDS = [
    Kind(
        "gathers",
        """
first = await gather(note("a"), note("b"), book("c"))
second = await gather(*[note(step) for step in "defg"])
[*first, *second, await book("h")]
""",
        lambda n: list("abcdefgh"),
        tuple("abdefg"),
        tuple("ch"),
    ),
    Kind(
        "sleeps",
        """
async def late(step, seconds):
    await sleep(seconds)
    return await note(step)

began = datetime.now()
got = await gather(late("a", 0.5), late("b", 1.5), book("c"))
await sleep(1)
[*got, await book("d"), began <= datetime.now()]
""",
        lambda n: [*"abcd", True],
        tuple("ab"),
        tuple("cd"),
    ),
    Kind(
        "retries",
        '[await stumble("a"), await book("b"), *await gather(stumble("c"), note("d"))]',
        lambda n: list("abcd"),
        tuple("acd"),
        tuple("b"),
    ),
    Kind(
        "errors",
        """
try:
    told = await refuse("pay")
except ValueError as error:
    told = str(error)
    await book("pay back")
[told, await note("a")]
""",
        lambda n: [f"{n} may not pay", "a"],
        ("a",),
        ("pay back",),
    ),
    Kind(
        "approvals",
        """
approval, step = await gather(chaos_approve(n), note("a"))
[approval, step, await book("b")]
""",
        lambda n: [approval_of(n), *"ab"],
        ("a",),
        ("b",),
    ),
    Kind(
        "cancellations",
        """
await book("a")
try:
    await chaos_approve(n)
finally:
    await gather(book("b"), note("c"))
""",
        lambda n: None,
        ("c",),
        ("a", "b"),
        status="cancelled",
    ),
]


def kind_of(workflow):
    return KINDS[workflow % len(KINDS)]

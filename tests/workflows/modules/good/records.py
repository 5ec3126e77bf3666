from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from uuid import UUID

from tests.workflows.modules.decorator import workflow


class Status(Enum):
    PAID = 1


@dataclass
class Line:
    """A line of an order."""

    name: str
    status: Status | None = None
    tags: list[str] = field(default_factory=list)
    key: UUID | None = None

    def text(self) -> str:
        return f"{self.name} {join(self.tags)}"


@dataclasses.dataclass(
    frozen=True,
)
class Money:
    amount: Decimal
    currency: str = "EUR"

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + other.amount, self.currency)


@dataclass
class Unused:
    status: Status = Status.PAID


def join(tags: list[str]) -> str:
    return "+".join(tags)


@workflow
async def flow(name: str) -> Line:
    line = Line(name)
    line.tags.append("new")
    both = Money(Decimal("1.10")) + Money(Decimal(2))
    return [line.text(), str(both.amount), both.currency, Line("a") == Line("a")]

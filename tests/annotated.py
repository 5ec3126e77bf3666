"""Classes and functions whose annotations are texts."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import models

T = TypeVar("T")
OrderNumber = NewType("OrderNumber", UUID)


class Colour(enum.Enum):
    RED = "red"
    ROUND = ("r", 1)


class Size(models.TextChoices):
    SMALL = "s", "Small"


class Range(NamedTuple):
    low: Colour
    high: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Sku:
    code: str


@dataclass(kw_only=True)
class Line:
    sku: Sku
    quantity: int = 1
    colour: Colour | None = None


@dataclass
class Order:
    id: UUID
    total: Decimal
    lines: list[Line] = field(default_factory=list)
    by_size: dict[Size, Line] = field(default_factory=dict)
    range: Optional[Range] = None  # noqa: UP045
    zone: ZoneInfo | None = None
    skus: frozenset[Sku] = frozenset()
    parent: Order | None = None
    _note: str = ""


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Payment:
    amount: int


@dataclass(slots=True)
class CardPayment(Payment):
    card: str


@dataclass
class Measured:
    width: int
    unit: InitVar[str]
    area: int = field(init=False)

    def __post_init__(self, unit):
        self.area = self.width**2


@dataclass(frozen=True, slots=True)
class Positive:
    value: int
    double: int = field(init=False, default=0)

    def __post_init__(self):
        if self.value <= 0:
            raise ValueError(f"{self.value} is not positive")


@dataclass(init=False)
class Own:
    value: int

    def __init__(self, **values):
        self.value = values["value"]


@dataclass
class Partly:
    known: Sku
    unknown: NoSuchClass  # noqa: F821


class Batch(TypedDict, total=False):
    lines: list[Line]
    number: int


def take(
    order: Order,
    lines: Sequence[Annotated[Line, "one"]] = (),
    /,
    by_name: Mapping[str, Order] | None = None,
    *payments: Payment,
    either: Line | Sku | str | None = None,
    number: OrderNumber | None = None,
    what: NoSuchClass = None,  # noqa: F821
    **others: Colour,
) -> list[Order]:
    return [order, lines, by_name, payments, either, number, what, others]


def give(value: Any) -> Any:
    return value

"""Types as projects write them."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NamedTuple,
    NewType,
    NotRequired,
    ParamSpec,
    Required,
    Self,
    TypedDict,
    TypeVar,
)

from django.db import models
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_serializer
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    import decimal as numbers
    from decimal import Decimal
    from typing import Unpack

    from .conftest import Loaded
    from .nowhere import Nothing

T = TypeVar("T")
Plain = TypeVar("Plain", int, str)
Bound = TypeVar("Bound", bound="Decimal")
Limited = TypeVar("Limited", bound=int)
P = ParamSpec("P")
Number = NewType("Number", int)
Json = dict[str, "Json"] | list["Json"] | str | int | float | None
Tree = TypeAliasType("Tree", "list[Tree] | int")
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))


@dataclass(frozen=True)
class Offer:
    price: Decimal
    note: str = ""


@dataclass(frozen=True, slots=True)
class Special(Offer):
    """Inherited, frozen, with slots: the workflow sees none of it."""

    percent: Final[int] = 0
    known: ClassVar[int] = 1
    secret: InitVar[str] = ""


@dataclass
class Node:
    value: Annotated[int, "positive"]
    children: list[Node] = field(default_factory=list)
    parent: Self | None = None


@dataclass
class Box(Generic[T]):
    item: T
    more: list[Box[T]] = field(default_factory=list)


@dataclass
class Labels(Box[str]):
    size: int = 0


@dataclass
class Endless(Generic[T]):
    next: Endless[list[T]] | None = None


@dataclass
class Private:
    _number: int
    name: str = ""


@dataclass
class date:  # noqa: N801
    """Has the name of a type that other stubs import."""

    list: int
    date: numbers.Decimal
    after: numbers.Decimal


class Point(NamedTuple):
    x: int
    y: int = 0


Bare = namedtuple("Bare", "left right")


class Base(TypedDict):
    number: int


class Order(Base, total=False):
    note: str
    lines: list[Line]
    paid: Required[bool]


class Line(TypedDict):
    sku: str
    count: NotRequired[int]


Odd = TypedDict("Odd", {"class": "int", "two words": "str"})


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Size(models.TextChoices):
    SMALL = "s", "small"
    LARGE = "l", "large"


class Ratio(enum.Enum):
    HALF = 0.5
    NONE = None


Airport = enum.Enum("Airport", [f"A{number}" for number in range(201)])


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Slug(str):
    """A class of its own, which the codec stores as a str."""


class Customer(BaseModel):
    name: str
    colour: Colour = Colour.RED
    offers: list[Offer] = []
    point: Point = Point(1)


class Page(BaseModel, Generic[T]):
    items: list[T]


class Shown(BaseModel):
    amount: int
    hidden: int = Field(exclude=True)
    when: int

    @computed_field
    @property
    def double(self) -> int:
        return 2 * self.amount

    @field_serializer("when")
    def write_when(self, when: int) -> Any:
        return str(when)


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Aliased(BaseModel):
    name: str = Field(alias="full name")


class Numbers(RootModel[list[int]]):
    pass


class Later:
    def of(self) -> Self: ...


def guarded(a: Decimal, b: numbers.Decimal, c: Nothing, d: list[Nothing] | None, e: Loaded): ...


def optional(number: int = None, text: str | None = None): ...  # noqa: RUF013


def variadic(*numbers: int, **more: str) -> None: ...


def keywords(**order: Unpack[Order]) -> None: ...

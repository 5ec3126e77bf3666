import dataclasses
from abc import ABC, abstractmethod
from enum import Enum
from typing import NamedTuple, Protocol, TypedDict

import types as other

other = other.SimpleNamespace(dataclass=lambda cls: cls)

from tests.workflows.modules.decorator import workflow


class Color(str, Enum):
    RED = "red"


class Point(NamedTuple):
    x: int


class Order(TypedDict):
    number: int


class Base(ABC):
    pass


class Meta(metaclass=type):
    pass


@other.dataclass
class Strict:
    x: int


def final(cls):
    return cls


@final
@dataclasses.dataclass
class Last:
    x: int


class OwnError(Exception):
    pass


class Late(TimeoutError):
    pass


@workflow
async def flow(number):
    try:
        point = Point(number), Order(number=1), Base(), Meta(), Strict(1), Last(1)
    except (OwnError, ValueError):
        raise OwnError("no")
    except Late:
        raise KeyError from None
    return Color.RED, isinstance(number, Late), point

import typing
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tests.workflows.modules.decorator import workflow

if TYPE_CHECKING:
    from tests.workflows.modules.nowhere import Order
else:
    Unneeded = 1

if typing.TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


class Sized(Protocol):
    size: int


class Box(Generic[T]):
    pass


def first(items: "list[Order]", box: Box[int] | None = None) -> "Order":
    found: "pd.DataFrame" = items[0]
    other: Sized
    return found


@workflow
async def flow(items: "typing.Sequence[Order]", anything: Any = None, **more: T) -> "Order":
    result: "Sized | None" = None
    return [first(items), result, more]

"""Definitions that are right in Python, and fail in the sandbox."""

from datetime import datetime, timedelta
from dataclasses import dataclass, asdict
from typing import Literal, TypeVar

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import load_order


T = TypeVar("T")
MODE = Literal["a", "b"]
NOW = datetime.now()
STEP = (
    timedelta(hours=1.5)
)
DEPENDS = [T, 3]
HANDLERS = {"pay": load_order}
EMPTY = None
ORDER = load_order(1)


@dataclass(slots=True)
class Line:
    x: int = 1


@workflow
async def flow(number: int):
    try:
        await HANDLERS["pay"](number)
    except ConnectionError:
        return MODE, NOW, STEP, DEPENDS, ORDER
    return asdict(Line(1)), EMPTY, "é", T, open("x")

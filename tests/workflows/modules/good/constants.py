from typing import Final

from tests.workflows.modules.decorator import workflow

BASE = 10
RATE: Final[float] = 0.5
LOW, (HIGH, *REST) = 1, (2, 3, 4)
FIRST = SECOND = BASE * 2
NOTED: int
COUNT = 1
COUNT += BASE
PRICES = {"a": 1}
PRICES["b"] = COUNT  # a price that came later
NAMES = []
NAMES.append("x")
NAMES.extend(sorted(PRICES))
UNUSED = object()
UNUSED.__class__
TABLE = {
    name: price * RATE
    for name, price in PRICES.items()
    if name != "zzz"
}
CHOOSE = lambda key, default=BASE: TABLE.get(key, default)
if UNUSED:
    OTHER = 3


@workflow
async def flow(key="b"):
    return [LOW, HIGH, REST, FIRST, SECOND, COUNT, PRICES, NAMES, CHOOSE(key), CHOOSE("none")]

from __future__ import annotations

import logging
from asyncio import gather, run, sleep
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge as pay, load_order

if TYPE_CHECKING:
    from decimal import Decimal

logger = logging.getLogger(__name__)

LIMIT = 50
NAMES = ["ä", "b"]; RATE = LIMIT / 100


class RefundError(Exception):
    pass


@dataclass
class Line:
    number: int
    amount: Decimal = 0


def half(amount: Decimal) -> Decimal:
    return amount * RATE


@workflow
async def refund(number: int) -> Line:
    """Gives the money back."""
    order = await load_order(number)
    paid, _ = await gather(pay(number, half(order["total"])), sleep(0))
    return [number, paid, [Line(n).number for n in range(2)]]


def other():
    logger.info(run)

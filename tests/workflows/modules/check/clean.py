"""A module without a mistake; the type checker knows nothing of what stays behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge, load_order as load

STARTED = datetime.now(timezone.utc)
RATES = {"de": Decimal("0.19"), "at": Decimal("0.20")}


@dataclass(frozen=True)
class Receipt:
    numbers: Sequence[int] = field(default_factory=list)
    owner: "uuid.UUID | None" = None


def gross(amount: Decimal, country: str = "de") -> Decimal:
    return amount * (1 + RATES[country])


@workflow
async def flow(number: int, country: str = "at") -> Receipt:
    order = await load(number)
    amount = gross(Decimal(order["total"]), country)
    await asyncio.gather(charge(number, float(amount)), asyncio.sleep(1))
    print(STARTED)
    return Receipt([number])

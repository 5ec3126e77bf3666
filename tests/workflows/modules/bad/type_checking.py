from typing import TYPE_CHECKING

from tests.workflows.modules.decorator import workflow

if TYPE_CHECKING:
    from decimal import Decimal


@workflow
async def flow(number: "Decimal"):
    return Decimal(number)

import uuid
from enum import Enum

from tests.workflows.modules import functions
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import not_registered


class Status(Enum):
    PAID = "paid"


class PaymentFailed(ValueError):
    pass


@workflow
async def pay(number):
    key = uuid.uuid4()
    try:
        await functions.charge(number, key)
    except PaymentFailed:
        raise PaymentFailed(missing) from None
    return Status.PAID, not_registered(number)




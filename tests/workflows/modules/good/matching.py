from dataclasses import dataclass

from tests.workflows.modules.decorator import workflow


class Kind:
    CARD = "card"
    CASH = "cash"


@dataclass
class Payment:
    kind: str
    amount: int = 0


def fee(payment):
    match payment:
        case Payment(kind=Kind.CARD, amount=amount) if amount > LIMIT:
            return amount // 10
        case Payment(Kind.CASH):
            return 0
        case {"kind": Kind.CARD, **rest}:
            return rest
        case [first, *_] | first:
            return first


LIMIT = 5


@workflow
async def flow(amount):
    return [
        fee(Payment("card", amount)), fee(Payment(Kind.CASH)),
        fee({"kind": "card", "a": 1}), fee([1, 2]), fee("x"),
    ]

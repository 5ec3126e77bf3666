"""Workflows that the tests of the kit run."""

from asyncio import gather, sleep

from durable_monty import workflow
from tests.app.workflows import add, approve, double as twice

FEE = 3


def with_fee(amount: int) -> int:
    return amount + FEE


@workflow(name="kit_refund")
async def refund(number: int, *, reason: str = "broken") -> str:
    first, second = await gather(add(number, 1), twice(number))
    if await approve(reason):
        await sleep(3600)
    return f"{with_fee(first + second)} for {reason}"


@workflow(name="kit_refund_changed")
async def changed(number: int, *, reason: str = "broken") -> str:
    first, second = await gather(add(number, 2), twice(number))
    return f"{first + second} for {reason}"

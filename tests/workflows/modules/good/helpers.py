"""Helpers call helpers, sync and async; one is recursive, and one is not used."""
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge, load_order


def total(lines):
    # the sum of all lines
    return add(lines) if lines else 0


def add(lines):
    return lines[0] + total(lines[1:])


def unused(value):
    return charge(value)


async def pay_all(orders):
    results = []
    for order in orders:
        results.append(await pay(order))
    return results


async def pay(order):
    return await charge(order["number"], total(order["lines"]))


@workflow
async def settle(numbers):
    orders = [await load_order(number) for number in numbers]
    return await pay_all(orders)

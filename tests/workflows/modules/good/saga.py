"""Undoes what was done when something fails."""
import asyncio
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge, load_order, notify

MESSAGES = {
    True: "wrong",
    False: "failed",
}


async def one(number, done):
    order = await load_order(number)
    done.append(("refund", number))
    if order["total"] * number > 250:
        raise ValueError(f"order {number} is too large")
    return await charge(number, order["total"])


async def undo(done):
    while done:
        what, number = done.pop()
        await notify(f"{what} {number}")


@workflow
async def flow(numbers):
    done = []
    try:
        return await asyncio.gather(*[one(number, done) for number in numbers])
    except BaseException as error:
        count = len(done)
        await undo(done)
        return [MESSAGES[isinstance(error, ValueError)], str(error), count]
    finally:
        await notify("over")

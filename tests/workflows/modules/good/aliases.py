from functools import partial

from durable_monty import register_function
from tests.workflows.modules import functions
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge as pay
from tests.workflows.modules.functions import load_order, notify as tell

pay_again = pay
first, LIMIT = load_order, 3
HANDLERS = {"pay": pay_again, "load": first}
pay_one = partial(pay, 1)
notify = functions.notify


@register_function("aliases_own")
def own(x):
    return x * 2


@workflow
async def flow(kind):
    await tell("start")
    await notify(text="again")
    return [
        await HANDLERS[kind](1, LIMIT), await pay_one(5), await own(4),
        (await HANDLERS["load"](2))["total"],
    ]

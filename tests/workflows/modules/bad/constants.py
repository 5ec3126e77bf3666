from tests.workflows.modules import functions as shop
from tests.workflows.modules.functions import LIMIT, OrderError as Wrong

from tests.workflows.modules.decorator import workflow

TWICE = LIMIT * 2


def over(value, limit=TWICE):
    return value > limit


@workflow
async def flow(number, most=LIMIT):
    if over(number):
        raise Wrong(f"{shop.LIMIT}")

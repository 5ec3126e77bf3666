from tests.workflows.modules.functions import *
from tests.workflows.modules.decorator import *


@workflow
async def flow(number):
    return (await load_order(number))["lines"]

from math import *
from tests.workflows.modules.functions import *
from tests.workflows.modules.decorator import workflow


@workflow
async def flow(number):
    await charge(number, sqrt(number))
    return not_registered(pi)

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.good.refund import refund


@workflow
async def other():
    pass


@workflow
async def flow(number):
    if number:
        await flow(number - 1)
    await refund(number)
    return await other()

from durable_monty import workflow
from tests.workflows.modules.bad.shared import shared as again


@workflow(name="others_other")
async def other():
    pass


@workflow(name="others_flow")
async def flow(number):
    if number:
        await flow(number - 1)
    await again(number)
    return await other()

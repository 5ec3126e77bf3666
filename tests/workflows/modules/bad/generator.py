from tests.workflows.modules.decorator import workflow


@workflow
async def flow(number):
    yield number

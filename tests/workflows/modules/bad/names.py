from tests.workflows.modules.decorator import workflow

_inputs = 3


@workflow
async def flow(number):
    return _inputs

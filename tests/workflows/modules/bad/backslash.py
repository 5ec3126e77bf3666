from tests.workflows.modules.decorator import workflow
A = 1\
;B = 2


@workflow
async def flow(number):
    return B

from tests.workflows.modules.decorator import workflow


@workflow
async def flow(a, b, /, c, *d, e=1, **f):
    return a

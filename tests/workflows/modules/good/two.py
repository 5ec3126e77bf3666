from asyncio import gather, sleep

from tests.workflows.modules.decorator import workflow

A, B = 1, 2


@workflow
async def other():
    await sleep(B)


def helper():
    return [A]


@workflow
async def flow():
    await gather()
    return helper()

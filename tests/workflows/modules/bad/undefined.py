from tests.workflows.modules.decorator import workflow


def helper():
    return mising + later


@workflow
async def flow(number):
    total = sum(lines for line in number)
    return helper(), total, __name__, __file__, len(__doc__ or "")

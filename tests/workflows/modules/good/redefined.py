from tests.workflows.modules.decorator import workflow

LIMIT = 1


def limit():
    return LIMIT


FIRST = limit()
LIMIT = LIMIT + 1


def limit(): return LIMIT * 10


@workflow
async def flow():
    return [FIRST, limit()]


LIMIT = LIMIT + 5

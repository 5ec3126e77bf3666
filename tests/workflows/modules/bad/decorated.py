from functools import cache, wraps

from tests.workflows.modules.decorator import workflow


def logged(func):
    @wraps(func)
    def inner(*args):
        return func(*args)
    return inner


@cache
def slow(number):
    return number


@logged
async def load(number):
    return number


@workflow
async def flow(number):
    return slow(number), await load(number)

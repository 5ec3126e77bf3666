from tests.workflows.modules.decorator import workflow


class Order:
    first, second = 1, 2

    class Meta:
        pass

    @property
    def total(self):
        return 1

    @staticmethod
    def make():
        return Order()


async def numbers():
    return [number async for number in Order()]


def others():
    yield 1


@workflow
async def flow(number):
    "é"; del number
    async with Order() as order:
        pass
    async for each in others(), numbers():
        pass
    try:
        return {**{"a": 1}}
    except* ValueError:
        pass

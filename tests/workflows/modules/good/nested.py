from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import charge

TIMES = 2


def make(factor):
    class Adder:
        base = factor

        def add(self, value):
            return value + factor * TIMES + Adder.base

    async def pay(number):
        def amount():
            return Adder().add(number)
        return await charge(number, amount())

    return pay


@workflow
async def flow(number):
    async def twice():
        pay = make(factor=number)
        return [await pay(n) for n in range(TIMES)]

    return await twice()

from durable_monty import register_function, workflow
from tests.benchmarks import workloads

step = register_function("step")(workloads.step)


@workflow
async def steps(number: int, more: int):
    return await step(number + more)

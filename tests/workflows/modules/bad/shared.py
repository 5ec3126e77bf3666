from durable_monty import workflow


@workflow(name="others_shared")
async def shared(number):
    return number

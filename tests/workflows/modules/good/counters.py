from tests.workflows.modules.decorator import workflow

total = 0
SEEN: list[int] = []


def count(n):
    global total, latest
    total += n
    latest = n
    SEEN.append(n)
    return total


@workflow
async def flow(numbers):
    for number in numbers:
        count(number)
    return [total, latest, SEEN]

from tests.workflows.modules.decorator import workflow

LIMIT = 3
limit = 4
STEP = 2


class Counter:
    "Counts."
    limit = LIMIT * limit
    seen = [each for each in range(STEP)]
    twice = limit * 2

    def __init__(self, start=STEP):
        self.value = start

    def count(self, by: "Missing" = LIMIT) -> "Counter":
        self.value += by
        return clamp(self)

    async def wait(self):
        return self.value + self.limit


class Empty: pass


def clamp(counter):
    if counter.value > Counter.limit:
        counter.value = Counter.limit
    return counter


@workflow
async def flow():
    Empty.note = "n"
    return [await Counter().count().wait(), Counter.seen, Counter.twice, Empty.note]

from datetime import timedelta

from tests.workflows.modules.decorator import workflow

DAYS = 2


def start(days=DAYS, *, scale=len("ab")):
    return days * scale


@workflow(
    name="with_defaults",
    retries={"a": 1},
)
async def flow(
    number,
    wait=timedelta(days=DAYS),
    *,
    at=start(),
    names=("x", start(1)),
    **options,
):
    return [number, wait.days, at, names, options]

"""The workflow stands before what it uses."""
import datetime

from tests.workflows.modules.decorator import workflow


@workflow
async def flow(days: int):
    started = datetime.datetime.now()
    end = started + WAIT * days
    steps = 0
    while datetime.datetime.now() < end and steps < STEPS:
        steps += 1
    return [steps, len(describe(end))]


def describe(moment):
    return moment.strftime(FORMAT)


FORMAT = "%Y-%m-%d"
WAIT = datetime.timedelta(days=1)
STEPS = 2

from tests.workflows.modules.decorator import workflow


@workflow
def flow(number, /, *more, last=1):
    return number

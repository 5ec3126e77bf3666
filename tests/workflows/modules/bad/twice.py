from tests.workflows.modules import decorator
from tests.workflows.modules.decorator import workflow as flow_of


def other(func=None):
    return func or other


@flow_of
@other
@decorator.workflow(name="again")
@other(
)
async def flow(number):
    return number

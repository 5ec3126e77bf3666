"""Uses what the sandbox has without an import."""
from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import fail


@workflow
async def flow(message):
    try:
        await fail(message)
    except ValueError as error:
        return [error_type(error), str(error)]

from tests.workflows.modules.decorator import workflow

WIDTH = 8
CODE = "eur"
UNIT = f"{CODE:>{WIDTH}}"
MULTI = f"""
  {CODE}

    # {WIDTH}
"""
BLANKED = f"""
{__import__('os')}
def no(): {'{'}
"""


def show(value):
    return f"{value!r:*^{WIDTH}}|{'ä' + CODE}" f"{value=}"


@workflow
async def flow(value):
    return [show(value), UNIT, MULTI, f'{show(f"{value}")}']

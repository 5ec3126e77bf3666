"""What is conditional is not used by the workflow."""
import sys

from tests.workflows.modules.decorator import workflow
from tests.workflows.modules.functions import load_order

try:
    import orjson as json
except ImportError:
    import json

if sys.version_info >= (3, 99):
    def load(text): return text
else:
    load = json.loads

for each in "ab":
    globals()[each] = each

with open(__file__) as own:
    SIZE = len(own.read())

try:
    from tests.workflows.modules.functions import charge
except ImportError:
    charge = None

STEPS = {"load": load_order}


@workflow
async def flow(number):
    return [await charge(number, 1), (await STEPS["load"](number))["total"]]

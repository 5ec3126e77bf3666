import decimal
import os
import urllib.parse
import uuid as ids
from collections.abc import Mapping

import tests.workflows.modules.functions
from tests.workflows.modules import functions
from tests.workflows.modules.decorator import workflow


@workflow
async def flow(number):
    key = ids.uuid4(), ids.UUID
    await functions.charge(number, decimal.Decimal(1))
    await functions.load_order(number)
    await functions.charge(number, 1)
    await tests.workflows.modules.functions.charge(1, 2)
    functions.not_registered(key)
    return isinstance(key, Mapping), urllib.parse.quote("x"), os.sep

import json, os, re
import collections.abc
import datetime as dt
import os.path
from asyncio import (  # noqa: F401
    create_task,
    gather,  # all at once
    sleep as nap, wait_for,
)
from collections import (Counter, OrderedDict as Ordered, deque)
from math import \
    floor, \
    ceil
from typing import Any, cast; from itertools import chain

from tests.workflows.modules.decorator import workflow


@workflow
async def flow(text: Any):
    await gather(nap(0), nap(1))
    found: collections.abc.Sequence = re.findall("[a-z]+", text)
    return [
        json.dumps(Counter(found)), os.path.join("a", "b"), ceil(1.2),
        str(dt.date(2026, 1, 2)), [*chain([1], deque([2]))],
    ]

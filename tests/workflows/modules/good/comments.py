#!/usr/bin/env python
# -*- coding: utf-8 -*-
# A comment on top.
from asyncio import sleep  # naps

from tests.workflows.modules.decorator import workflow

# above
LIMIT = 3  # behind: kept
OTHER = 4  # behind another: not kept
WORDS = [  # inside
    "a",  # a

    # b comes next
    "b",
]  # end


# above the helper
def helper():  # on it
    # in it
    return LIMIT
    # under it


@workflow  # decorated
# between
async def flow():
    # first

    await sleep(1)  # nap
    return [helper(), WORDS]

# at the end

import re
import functools
import random as rnd
from collections import defaultdict, namedtuple
from decimal import ROUND_HALF_UP, Decimal as D
from json import dumps, loads

from tests.workflows.modules.decorator import workflow

WORD = re.compile(r"[a-zä]+", re.IGNORECASE)
Point = namedtuple("Point", ["x", "y"])
CENT = D("0.01")
HALF = ROUND_HALF_UP


def split(text):
    found = defaultdict(list)
    for word in WORD.findall(text):
        found[len(word)].append(word)
    return found


@workflow
async def flow(text):
    rnd.seed(1)
    key = functools.reduce(lambda a, b: a + b, [1, 2, 3])
    return [
        dumps(split(text), sort_keys=True), loads("[1]"), Point(1, key).y,
        str(D("1.005").quantize(CENT, rounding=HALF)), 0 <= rnd.random() < 1,
    ]

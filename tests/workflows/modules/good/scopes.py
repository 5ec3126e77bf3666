"""Names that look like those of the module and are others."""
from tests.workflows.modules.decorator import workflow

import uuid
import secrets as item
import logging as key, socket as error, ssl as group
import select as name, shelve as rest, signal as value, string as word

DEFAULT = [1, 2, 3]
OUTER = 10


def outer(item=DEFAULT[0], *key, group=OUTER, **rest):
    uuid = item + group

    def inner():
        nonlocal uuid
        uuid += 1
        return uuid

    inner()
    return [uuid, key, rest]


@workflow
async def flow(uuid=1):
    squares = {name: value * OUTER for name, value in enumerate(DEFAULT)}
    pairs = [(key, item) for key in DEFAULT for item in range(key) if item]
    try:
        raise ValueError("no")
    except (ValueError, KeyError) as error:
        text = str(error)
    if (word := text.upper()) and [last := n for n in DEFAULT]:
        text += word
    add = lambda value, *rest: value + sum(rest)
    for group, [name, *rest] in [(1, "abc")]:
        text += name
    match {"kind": "x", "more": [1, 2]}:
        case {"kind": str() as kind, **others} if kind:
            text += kind
    match pairs:
        case [(int(value), _), *_]:
            text += str(value)
    return [uuid, squares, pairs, text, last, add(1, 2), outer(5, 6, a=1), group, others]

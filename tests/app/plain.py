"""A module without decorators, for DURABLE_MONTY["FUNCTION_MODULES"]."""

from textwrap import dedent


def shorten(text, length=3):
    return _cut(text, length)


async def lengthen(text):
    return text * 2


class Shorter:
    def shorten(self, text):
        return dedent(text)


def _cut(text, length):
    return text[:length]

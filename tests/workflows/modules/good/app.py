"""A whole app in one module, as small projects have it."""
from __future__ import annotations

import contextlib
import logging
import os
import uuid

from django.conf import settings
from django.db import models, transaction
from django.dispatch import receiver
from django.utils import timezone

from durable_monty import register_function
from tests.workflows.modules.decorator import workflow

logger = logging.getLogger(__name__)
DEBUG = getattr(settings, "DEBUG", False)
os.environ.setdefault("SHOP", "1")
RETRIES = 3


class ShopError(Exception):
    """Something went wrong."""


class Timer(contextlib.ContextDecorator):
    @property
    def now(self):
        return timezone.now()

    @classmethod
    def make(cls): yield cls()


def numbers():
    yield from range(3)
    del numbers.x


async def stream():
    async with stream() as s:
        async for each in s:
            yield each


@transaction.atomic
def save(): ...


@register_function("app_reserve", retry=None)
def reserve(sku: str) -> str:
    logger.info("reserved")
    return f"{sku}-{len(str(uuid.uuid4()))}"


@workflow
async def flow(sku: str) -> str:
    for attempt in range(RETRIES):
        try:
            return [attempt, await reserve(sku), os.path.basename("a/b")]
        except ValueError:
            continue


if __name__ == "__main__":
    RETRIES = 1
    reserve("x")

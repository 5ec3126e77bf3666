"""Counts that stop: nobody reads a million as a number, and the database need not count them."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

from durable_monty.reads.dashboard import COUNT_LIMIT


class AtLeast(int):
    """A number that reads `10000+`."""

    def __str__(self) -> str:
        return f"{int(self)}+"


class CappedPaginator(Paginator):
    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        number: int = rows.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        return AtLeast(COUNT_LIMIT) if number > COUNT_LIMIT else number

"""A paginator whose count stops: nobody reads a million as a number."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.utils.formats import number_format
from django.utils.functional import cached_property

from durable_monty.reads.dashboard import COUNT_LIMIT


class AtLeast(int):
    """A number that reads `10,000+`."""

    def __str__(self) -> str:
        if settings.USE_THOUSAND_SEPARATOR:
            return f"{int(self)}"  # Django groups whatever looks like digits
        return f"{number_format(int(self), force_grouping=True)}+"


class CappedPaginator(Paginator):
    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        # An exact count of a million rows takes longer than the page itself.
        number: int = rows.order_by().values("pk")[: COUNT_LIMIT + 1].count()
        return AtLeast(COUNT_LIMIT) if number > COUNT_LIMIT else number

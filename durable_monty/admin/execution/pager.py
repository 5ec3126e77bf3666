from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pager:
    """The URLs of other pages; an empty URL where there is none."""

    first: str
    previous: str
    next: str
    last: str

    @classmethod
    def of(cls, number: int, last: int, url_of: Callable[[int], str]) -> Pager:
        def url(to: int) -> str:
            return "" if to == number or not 1 <= to <= last else url_of(to)

        return cls(url(1), url(number - 1), url(number + 1), url(last))

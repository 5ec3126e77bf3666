"""Blanks a source around the parts that stay, so that each keeps its line and its column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """A part of a source. Lines count from 1, columns from 0 and in characters."""

    line: int
    column: int
    end_line: int
    end_column: int
    begins_statement: bool = True


def keep_only(lines: Sequence[str], parts: Sequence[Part]) -> str:
    """Returns the lines with nothing but `parts`, which are in order and do not overlap.

    A comment behind the last part of a line stays, too.
    """
    kept = [""] * len(lines)
    for index, part in enumerate(parts):
        first, last = part.line - 1, part.end_line - 1
        before = kept[first]
        between = lines[first][len(before) : part.column]
        blank = "".join(each if each.isspace() else " " for each in between)
        # A statement behind another on its line: Python refuses an indent.
        if part.begins_statement and before:
            blank = ";" + blank[1:]
        elif between.strip() and not before and part.column >= 2:
            blank = "0;" + blank[2:]
        if first == last:
            kept[first] = before + blank + lines[first][part.column : part.end_column]
        else:
            kept[first] = before + blank + lines[first][part.column :]
            kept[first + 1 : last] = lines[first + 1 : last]
            kept[last] = lines[last][: part.end_column]
        is_last = index + 1 == len(parts) or parts[index + 1].line > part.end_line
        rest = lines[last][part.end_column :]
        if is_last and rest.lstrip().startswith("#"):
            kept[last] += rest
    return "\n".join(kept)

"""Workflow source as lines of HTML, coloured by Pygments, with one expression marked."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from operator import attrgetter

from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from pygments.lexers.python import PythonLexer
from pygments.token import Token

from durable_monty.admin.formats import LONG, cut

# Source may be hostile, and the lexer needs minutes for 50 KB of blank lines. The part that it
# has not reached in this time is shown without colours.
_SECONDS = 0.5

_CLASSES = {
    Token.Comment: "c",
    Token.Keyword: "k",
    Token.Operator.Word: "k",
    Token.Keyword.Constant: "kc",
    Token.Name.Builtin: "nb",
    Token.Name.Class: "nc",
    Token.Name.Decorator: "nd",
    Token.Name.Exception: "nb",
    Token.Name.Function: "nf",
    Token.Literal.Number: "m",
    Token.Literal.String: "s",
    Token.Literal.String.Escape: "se",
    Token.Literal.String.Interpol: "si",
}


@dataclass(frozen=True, slots=True)
class Span:
    """UTF-8 byte offsets in a source, `end` exclusive."""

    start: int
    end: int


class LineMap:
    """Finds the line of a byte of the source. Lines are counted from 1."""

    def __init__(self, source: str) -> None:
        self._starts, at = [], 0
        for line in source.split("\n"):
            self._starts.append(at)
            at += len(line.encode(errors="surrogatepass")) + 1
        self._end = at

    def __len__(self) -> int:
        return len(self._starts)

    def line_of(self, byte: int) -> int:
        return bisect_right(self._starts, byte)

    def bytes_of(self, line: int) -> Span | None:
        """Returns the bytes of a line; None if there is no such line."""
        if not 1 <= line <= len(self):
            return None
        end = self._starts[line] if line < len(self) else self._end
        return Span(self._starts[line - 1], end)


def highlight(source: str, marked: Span | None = None) -> list[SafeString]:
    """Returns the lines of `source`, at most `LONG` characters of it."""
    source = source[:LONG]
    start = end = 0
    if marked is not None:
        # Positions are bytes of UTF-8; the lexer counts characters.
        data = source.encode(errors="surrogatepass")
        start = len(data[: marked.start].decode(errors="ignore"))
        end = len(data[: marked.end].decode(errors="ignore"))
    lines: list[list[_Piece]] = [[]]
    for at, css, text in _pieces(source, {start, end}):
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append([])
            if part:
                # An indent before the expression's second line is not a part of it.
                is_indent = not lines[-1] and part.isspace()
                is_marked = start <= at < end and not is_indent
                lines[-1].append(_Piece(css, part, is_marked=is_marked))
    return [_line(pieces) for pieces in lines]


@dataclass(frozen=True, slots=True)
class _Piece:
    css: str
    text: str
    is_marked: bool

    @property
    def html(self) -> SafeString:
        text = cut(self.text, LONG)
        if not self.css:
            return conditional_escape(text)
        return format_html('<span class="dm-{}">{}</span>', self.css, text)


def _pieces(source: str, cuts: Collection[int]) -> Iterator[tuple[int, str, str]]:
    """Yields (offset, CSS class, text), where no text reaches over one of `cuts`."""
    start = 0
    for css, text in _tokens(source):
        end = start + len(text)
        bounds = sorted({start, end, *(at for at in cuts if start < at < end)})
        for at, until in pairwise(bounds):
            yield at, css, source[at:until]
        start = end


@lru_cache(maxsize=8)
def _tokens(source: str) -> tuple[tuple[str, str], ...]:
    """Returns (CSS class, text) of each token; the texts together are the source."""
    deadline = time.monotonic() + _SECONDS
    tokens, at = [], 0
    for index, kind, text in PythonLexer().get_tokens_unprocessed(source):
        while kind is not None and kind not in _CLASSES:
            kind = kind.parent  # noqa: PLW2901  (a kind of token is coloured as its parent)
        tokens.append((_CLASSES.get(kind, ""), text))
        at = index + len(text)
        if time.monotonic() > deadline:
            break
    return (*tokens, ("", source[at:]))


def _line(pieces: Iterable[_Piece]) -> SafeString:
    groups = []
    for is_marked, group in groupby(pieces, attrgetter("is_marked")):
        html = format_html_join("", "{}", ((piece.html,) for piece in group))
        groups.append(format_html('<mark class="dm-here">{}</mark>', html) if is_marked else html)
    return format_html_join("", "{}", ((group,) for group in groups))

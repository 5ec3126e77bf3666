"""Workflow source as lines of HTML, coloured by Pygments, an expression of it marked."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from pygments.lexers.python import PythonLexer
from pygments.token import Token

from durable_monty.admin.formats import LONG, cut

# Source may be hostile, and the lexer needs minutes for 50 KB of blank lines: what it has not
# come to in this time is shown without colours.
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
    """Which line a byte of the source stands on; lines are counted from 1."""

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
        """None, if there is no such line."""
        if not 1 <= line <= len(self):
            return None
        end = self._starts[line] if line < len(self) else self._end
        return Span(self._starts[line - 1], end)


def highlight(source: str, marked: Span | None = None) -> list[SafeString]:
    """The lines of `source`, at most `LONG` characters of it."""
    source = source[:LONG]
    start, end = (0, 0) if marked is None else _characters(source, marked)
    lines: list[list[_Piece]] = [[]]
    at = 0
    for css, text in _tokens(source):
        for part in _split(text, start - at, end - at):
            for number, piece in enumerate(part.split("\n")):
                if number:
                    lines.append([])
                    at += 1
                if piece:
                    is_indent = not lines[-1] and piece.isspace()
                    is_marked = start <= at < end and not is_indent
                    lines[-1].append(_Piece(css, piece, is_marked=is_marked))
                at += len(piece)
    return [_line(pieces) for pieces in lines]


@dataclass(frozen=True, slots=True)
class _Piece:
    css: str
    text: str
    is_marked: bool


@lru_cache(maxsize=8)
def _tokens(source: str) -> tuple[tuple[str, str], ...]:
    """(CSS class, text) of each token; the texts together are the source."""
    deadline = time.monotonic() + _SECONDS
    tokens, at = [], 0
    for index, kind, text in PythonLexer().get_tokens_unprocessed(source):
        tokens.append((_class_of(kind), text))
        at = index + len(text)
        if time.monotonic() > deadline:
            break
    return (*tokens, ("", source[at:]))


def _class_of(kind: Token) -> str:
    while kind is not None:
        if kind in _CLASSES:
            return _CLASSES[kind]
        kind = kind.parent
    return ""


def _characters(source: str, marked: Span) -> tuple[int, int]:
    data = source.encode(errors="surrogatepass")
    start, end = (
        len(data[:offset].decode(errors="ignore")) for offset in (marked.start, marked.end)
    )
    return start, end


def _split(text: str, start: int, end: int) -> Iterator[str]:
    """`text`, cut where the mark begins and ends."""
    cuts = sorted({0, len(text), *(at for at in (start, end) if 0 < at < len(text))})
    for begin, stop in pairwise(cuts):
        yield text[begin:stop]


def _line(pieces: Iterable[_Piece]) -> SafeString:
    return format_html_join(
        "",
        "{}",
        ((_group(list(group), is_marked),) for is_marked, group in groupby(pieces, _is_marked)),
    )


def _is_marked(piece: _Piece) -> bool:
    return piece.is_marked


def _group(pieces: list[_Piece], is_marked: bool) -> SafeString:
    html = format_html_join("", "{}", ((_span(piece),) for piece in pieces))
    return format_html('<mark class="dm-here">{}</mark>', html) if is_marked else html


def _span(piece: _Piece) -> SafeString:
    text = cut(piece.text, LONG)
    if not piece.css:
        return conditional_escape(text)
    return format_html('<span class="dm-{}">{}</span>', piece.css, text)

import html
import re
import time

import pytest
from hypothesis import given, strategies as st

from durable_monty.admin.source.highlight import LineMap, Span, highlight

SOURCE = """import x
async def é(a):  # ü
    '''doc
  <b>'''
    return await gather(
        f('é', 1),
        g())
"""


def text_of(lines):
    return "\n".join(html.unescape(re.sub(r"<[^>]*>", "", line)) for line in lines)


def span_of(source, start, end):
    """The bytes from the beginning of `start` to the end of `end`."""
    data = source.encode()
    return Span(data.index(start.encode()), data.index(end.encode()) + len(end.encode()))


def marked(lines):
    found = [re.findall(r'<mark class="dm-here">(.*?)</mark>', line) for line in lines]
    return [text_of(parts) for parts in found if parts]


def test_the_marked_expression_is_told_in_bytes():
    lines = highlight(SOURCE, span_of(SOURCE, "await", "g()"))

    assert marked(lines) == ["await gather(", "f('é', 1),", "g()"]


def test_tokens_have_classes_and_markup_is_text():
    lines = highlight(SOURCE)

    assert lines[0] == '<span class="dm-k">import</span> x'
    assert lines[3] == '<span class="dm-s">  &lt;b&gt;&#x27;&#x27;&#x27;</span>'
    assert marked(lines) == []


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
code = st.lists(st.sampled_from([*"'\"\\{}()#é𝄞 \n\r\tx1.=@f", "'''", "def ", "await "]))


@given(st.one_of(texts, code.map("".join)), st.integers(0, 300), st.integers(0, 300))
def test_nothing_is_lost_whatever_the_source(source, start, end):
    lines = highlight(source, Span(start, end))

    assert text_of(lines) == source
    assert len(lines) == len(LineMap(source))


@given(texts)
def test_each_byte_stands_on_its_line(source):
    lines = LineMap(source)
    for number, text in enumerate(source.split("\n"), 1):
        span = lines.bytes_of(number)
        assert source.encode()[span.start : span.end].decode().removesuffix("\n") == text
        assert lines.line_of(span.start) == lines.line_of(span.end - 1) == number
    assert lines.bytes_of(0) is None
    assert lines.bytes_of(len(lines) + 1) is None


@pytest.mark.parametrize("unit", [" \n", "\n" + " " * 20, "@", "%(a", "("])
def test_a_source_that_is_hard_to_lex_is_shown_soon(unit):
    """The lexer alone needs 100 s for the first."""
    source = unit * (50_000 // len(unit))
    began = time.monotonic()

    lines = highlight(source)

    assert time.monotonic() - began < 10
    assert len(lines) == source.count("\n") + 1


def test_a_long_source_is_cut():
    assert len(text_of(highlight("x = 1\n" * 50_000))) == 100_000

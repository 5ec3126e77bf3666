"""Makes the digest of a closure, by which versions of a workflow are told apart."""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
from collections.abc import Iterator, Mapping

# Python 3.11 knows an f-string as one string, later ones as what is between these two.
_FSTRING_BEGINS = getattr(tokenize, "FSTRING_START", None)
_FSTRING_ENDS = getattr(tokenize, "FSTRING_END", None)
_STRUCTURE = {tokenize.INDENT: 1, tokenize.DEDENT: -1, tokenize.NEWLINE: 0}
_IGNORED = (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER)


def digest_of(source: str, functions: Mapping[str, str]) -> str:
    """Returns the digest of the tokens, and of the functions.

    Code that only moved has the same, and so has code with another comment or other blanks: none
    of them changes a run. Docstrings and what is in other strings count.
    """
    # JSON, so that no source looks like another one with other functions. Not `ast.dump`, whose
    # text differs between versions of Python.
    whole = json.dumps([[*_tokens(source)], sorted(functions.items())])
    return hashlib.sha256(whole.encode()).hexdigest()


def _tokens(source: str) -> Iterator[str | int]:
    lines = source.split("\n")
    depth, begins = 0, (1, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == _FSTRING_BEGINS:
            begins = begins if depth else token.start
            depth += 1
        elif token.type == _FSTRING_ENDS:
            depth -= 1
            if not depth:
                (first, column), (last, end) = begins, token.end
                text = "\n".join([*lines[first - 1 : last - 1], lines[last - 1][:end]])
                yield text[column:]
        elif not depth and token.type not in _IGNORED:
            yield _STRUCTURE.get(token.type, token.string)

"""Files in every encoding and layout keep their lines and columns."""

from __future__ import annotations

import pytest

from durable_monty.exceptions import WrongWorkflow
from durable_monty.workflows.closure import closure_of
from tests.workflows.support import output_of, run_closure, run_plain

SOURCE = '''\
from tests.workflows.modules.decorator import workflow
import logging
RATE = 3

logging.getLogger("x")
TEXT = """
é {RATE}
"""


@workflow
async def flow(number):
\tif number:
\t\treturn [number * RATE, TEXT]
'''
CLOSURE = '''\


RATE = 3


TEXT = """
é {RATE}
"""



async def flow(number):
\tif number:
\t\treturn [number * RATE, TEXT]
await flow(**_inputs)'''
OUTPUT = [6, "\né {RATE}\n"]
LATIN = "# -*- coding: latin-1 -*-\n"


@pytest.mark.parametrize(
    ("content", "closure"),
    [
        (SOURCE.encode(), CLOSURE),
        (SOURCE.replace("\n", "\r\n").encode(), CLOSURE),
        (SOURCE.replace("\n", "\r").encode(), CLOSURE),
        (b"\xef\xbb\xbf" + SOURCE.encode(), CLOSURE),
        (b"\xef\xbb\xbf" + SOURCE.replace("\n", "\r\n").encode(), CLOSURE),
        (SOURCE.rstrip().encode(), CLOSURE),
        ((LATIN + SOURCE).encode("latin-1"), "\n" + CLOSURE),
        ((SOURCE + "\n# end\n\n").encode(), CLOSURE.replace("TEXT]\n", "TEXT]\n\n\n\n")),
    ],
)
def test_encodings_and_line_breaks(write, content, closure):
    found = closure_of(write(content).flow)
    assert found.source == closure
    assert output_of(found, {"number": 2}) == run_plain(found, {"number": 2}) == OUTPUT
    assert found.digest == closure_of(write(SOURCE.encode()).flow).digest


def test_form_feeds(write):
    source = SOURCE.replace("RATE = 3", "\x0cRATE = 3").replace("@workflow", "\x0c\n@workflow")
    found = closure_of(write(source.encode()).flow)
    assert "\n\x0cRATE = 3\n" in found.source
    assert output_of(found, {"number": 2}) == OUTPUT


def test_characters_that_only_look_like_line_breaks(write):
    source = SOURCE.replace("{RATE}", "\u2028\x85\x0b\x1c").replace("# ", "# \u2029\x0b")
    found = closure_of(write(source.encode()).flow)
    assert output_of(found, {"number": 1}) == [3, "\né \u2028\x85\x0b\x1c\n"]
    assert found.source.split("\n")[12] == "\tif number:"


def test_errors_have_the_lines_of_the_file(write):
    source = SOURCE.replace("\t\treturn", "\t\traise ValueError(TEXT)\n\t\treturn")
    found = closure_of(write(source.replace("\n", "\r\n").encode()).flow)
    failed = run_closure(found, {"number": 1})
    assert failed.traceback == (
        "Traceback (most recent call last):\n"
        '  File "workflow", line 16, in <module>\n'
        "    await flow(**_inputs)\n"
        "    ~~~~~~~~~~~~~~~~~~~~~\n"
        '  File "workflow", line 14, in flow\n'
        "    raise ValueError(TEXT)\n"
        "ValueError: \né {RATE}\n"
    )


def test_complaints_count_columns_in_characters(write):
    source = SOURCE.replace("\t\treturn [", '\t\t"é🙂"; return [lost, ')
    for content in (source.encode(), b"\xef\xbb\xbf" + source.replace("\n", "\r\n").encode()):
        with pytest.raises(WrongWorkflow) as info:
            closure_of(write(content).flow)
        assert str(info.value) == (
            "flow() cannot be a workflow.\nwritten_flows.py:14:17: name 'lost' is not defined. "
            "Assign it first, or give it as an input."
        )


def test_bom_does_not_shift_the_first_line(write):
    imports = SOURCE.split("\n", maxsplit=1)[0].encode()
    content = b"\xef\xbb\xbfA = missing if 0 else 1; " + imports + b"\n"
    with pytest.raises(WrongWorkflow, match="written_flows.py:1:5: name 'missing' is not defined"):
        closure_of(write(content + b"@workflow\nasync def flow(): return A\n").flow)

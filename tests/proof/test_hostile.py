"""Hostile workflows end with a clear error within their limits; their neighbours are unhurt."""

import pytest

from durable_monty.exceptions import InvalidWorkflow
from durable_monty.models import Call, Execution
from tests.support import SEVEN_CALLS, seven_calls_output, work

pytestmark = pytest.mark.django_db

HOSTILE = {
    "memory bomb": ("x = []\nwhile True: x.append('a' * 5_000_000)", "memory limit exceeded"),
    "memory bomb of one value": ("'a' * 10**12", "memory limit exceeded"),
    "infinite loop": ("while True: pass", "turn time limit exceeded"),
    "infinite loop that is refused": (
        "while True:\n    try: nope()\n    except NameError: pass",
        "runs in circles",
    ),
    "swallows every error": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "turn time limit exceeded",
    ),
    "deep recursion": ("def r(n): return r(n + 1)\nr(0)", "maximum recursion depth exceeded"),
    "huge output": ("'a' * 5_000_000", "at most 1,048,576"),
    "huge argument": ("await echo('a' * 5_000_000)", "at most 1,048,576"),
    "output that unfolds": ("x = [1]\nfor i in range(60): x = [x, x]\nx", "at most 1,048,576"),
    "deep output": ("x = []\nfor i in range(50_000): x = [x]\nx", "cannot be stored"),
    "huge int": ("2 ** 10_000_000", ""),
    "100,000 calls": ("ts = []\nfor i in range(100_000): ts.append(echo(i))", "MAX_CALLS"),
    "9,000 forgotten calls": ("v = echo()\n" * 9_000 + "1\n" * 20_000, "was never awaited"),
    "100,000 clock readings": (
        "import time\nfor i in range(100_000): time.time()",
        "MAX_CALLS",
    ),
    "huge prints": ("for i in range(10**6): print('x' * 1000)", "MAX_LOG_BYTES"),
    "reads a file": ("open('/etc/passwd').read()", "Permission denied"),
    "writes a file": ("open('/tmp/owned', 'w').write('x')", "Permission denied"),
    "lists a folder": ("from pathlib import Path\nlist(Path('/').iterdir())", "Permission denied"),
    "reads the environment": ("import os\nos.environ['SECRET_KEY']", "not supported"),
    "imports a module": ("import subprocess", "No module named 'subprocess'"),
    "calls what it was not given": ("await __import__('os')", "not a function that this workflow"),
    "calls what others were given": ("await note('/tmp/owned', 'x')", "not a function"),
    "evaluates": ('eval(\'__import__("os").system("true")\')', "not a function"),
    "sleeps for ever": ("import asyncio\nawait asyncio.sleep(1e18)", "at most 100 years"),
}


@pytest.mark.usefixtures("unchecked")
def test_each_ends_alone(service, durable_settings):
    durable_settings(MAX_TURN_SECONDS=0.5)
    hostile = {
        name: service.start_execution(source, ["echo"], name=name)
        for name, (source, _error) in HOSTILE.items()
    }
    neighbours = [
        service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for x in range(10)
    ]
    work()
    for name, (_source, error) in HOSTILE.items():
        execution = Execution.objects.get(pk=hostile[name])
        assert execution.status == "failed", name
        assert error in execution.error_message, (name, execution.error_message)
        assert len(execution.log) <= 65_536
    assert [service.get_result(execution_id) for execution_id in neighbours] == [
        seven_calls_output(x) for x in range(10)
    ]
    assert not Call.objects.filter(execution__in=hostile.values()).open().exists()


def test_source_of_ten_megabytes_is_refused_at_the_start(service):
    with pytest.raises(InvalidWorkflow, match="The workflow source has 10,000,000 bytes"):
        service.start_execution("x" * 10_000_000, [])
    assert not Execution.objects.exists()

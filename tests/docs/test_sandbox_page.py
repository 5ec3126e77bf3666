"""The page on what a workflow can use says what the sandbox does."""

import re

import pytest

from durable_monty.exceptions import InvalidWorkflow
from durable_monty.models import Execution, ExecutionStatus
from tests.documents import DOCS, code
from tests.support import run

PAGE = DOCS / "reference" / "sandbox.md"


def listed(start):
    text = PAGE.read_text()
    return code(re.search(rf"^- {start}: (.*?)^- ", text, flags=re.MULTILINE | re.DOTALL)[1])


@pytest.mark.django_db
@pytest.mark.parametrize("module", listed("Modules"))
def test_module_that_a_workflow_can_import(module):
    assert run(f"import {module}").status == ExecutionStatus.COMPLETED


REFUSED = {
    "yield": "def numbers():\n    yield 1\nlist(numbers())",
    "async for": "async def read():\n    async for x in y: pass\nawait read()",
    "async with": "async def read():\n    async with y: pass\nawait read()",
    "del": "x = 1\ndel x",
    "@property": "class A:\n    @property\n    def x(self): return 1",
    "import *": "from asyncio import *",
    "asyncio.Queue": "import asyncio\nasyncio.Queue()",
    "from datetime import UTC": "from datetime import UTC",
    "input()": "input()",
    "asyncio.create_task": "import asyncio\nasyncio.create_task(echo(1))",
    "asyncio.wait_for": "import asyncio\nawait asyncio.wait_for(echo(1), 1)",
    "gather": "import asyncio\nawait asyncio.gather(echo(1), return_exceptions=True)",
    "import uuid": "import uuid",
    'open("file")': 'open("file")',
}


@pytest.mark.django_db
@pytest.mark.parametrize("what", listed("Not"))
def test_what_a_workflow_cannot_do(what, durable_settings):
    with pytest.raises(InvalidWorkflow):
        run(REFUSED[what], ["echo"])
    durable_settings(CHECK="off")
    execution = run(REFUSED[what], ["echo"])
    assert execution.status == ExecutionStatus.FAILED
    assert execution.error_message
    assert Execution.objects.count() == 1

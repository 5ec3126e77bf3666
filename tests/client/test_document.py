"""The client's page does what it says."""

import asyncio
import inspect
import re
from decimal import Decimal

import pytest

from durable_monty import operations
from durable_monty.client import AsyncClient, Client
from durable_monty.models import KeyScope
from tests.documents import ROOT, of_language
from tests.live import working

pytest.importorskip("httpx")
pytest.importorskip("ninja")
pytest.importorskip("uvicorn")

PAGE = ROOT / "durable_monty" / "docs" / "how-to" / "client.md"


@pytest.mark.django_db(transaction=True)
def test_examples_run(server, admin_user, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _key, secret = operations.make_api_key("docs", KeyScope, user=admin_user, using="default")
    examples = [block.text for block in of_language(PAGE, "text") if "import" in block.text]
    names = {}
    with working():
        for example in examples:
            ours = example.replace("https://example.com/api", server)
            exec(ours.replace("dmk_...", secret), names)
        assert names["output"] == {"number": 1047, "refunded": Decimal("80.50")}
        assert asyncio.run(names["waiting"]()) == []


def test_every_method_is_in_the_table():
    table = PAGE.read_text().partition("## Methods")[2].partition("## Errors")[0]
    rows = "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    told = set(re.findall(r"`(\w+)[`(]", rows))
    for kind in (Client, AsyncClient):
        public = {name for name, _method in inspect.getmembers(kind) if not name.startswith("_")}
        assert public - {"close"} == told

"""The pages of the executors that make requests: their tables are the code's."""

import inspect
from pathlib import Path

import pytest

import durable_monty
from durable_monty.executors.loading import executor_class
from durable_monty.executors.requests.base import RequestExecutor
from tests.documents import tables

DOCS = Path(durable_monty.__file__).parent / "docs" / "how-to"


@pytest.mark.parametrize(
    ("name", "page", "extra"),
    [("http", "http-functions.md", "httpcore"), ("aws_lambda", "aws-lambda.md", "boto3")],
)
def test_table_of_options(name, page, extra):
    pytest.importorskip(extra)
    shared = inspect.signature(RequestExecutor).parameters
    parameters = {**shared, **inspect.signature(executor_class(name)).parameters}
    parameters.pop("options")
    documented = [row[0].strip("`") for row in tables(DOCS / page)["Options"]]
    assert sorted(documented) == sorted(
        f"{each.name}={each.default!r}".replace("''", '""').replace("'", '"')
        for each in parameters.values()
    )

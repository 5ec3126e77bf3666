"""No list scans a table: each is read and counted by the index that is meant for it."""

import json
import re

import pytest
from django.db import connection

from durable_monty.models import Call, Execution, Snapshot
from tests.admin.pages import list_url
from tests.benchmarks.rows import fill

TABLES = ("durable_monty_execution", "durable_monty_call", "durable_monty_snapshot")


@pytest.fixture
def plans(db, viewer):
    """What the database does to read and to count a list: each step that reads a large table,
    with the index that it uses."""
    if connection.vendor == "mysql":
        pytest.skip("it reads the plans of PostgreSQL and SQLite")
    fill(400, 300)

    def steps(model, query):
        statements = []

        def note(execute, sql, params, many, context):
            if any(f'FROM "{table}"' in sql for table in TABLES):
                statements.append((sql, params))
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            assert viewer.get(list_url(model, query)).status_code == 200
        assert statements
        return [step for statement in statements for step in explain(*statement)]

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # The table is small: what would be chosen if it were large?
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"ANALYZE {', '.join(TABLES)}")
    return steps


def explain(sql, params):
    # With the parameters apart, as it is really run: SQLite plans without their values.
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            (plan,) = cursor.fetchone()
            yield from scans((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            for *_ids, detail in cursor.fetchall():
                if match := re.match(rf"(SCAN|SEARCH) ({'|'.join(TABLES)}|U\d)\b(.*)", detail):
                    yield index_of(match[3])


def scans(node):
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES:
        yield "table"
    if "Index Name" in node:
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        yield from scans(child)


def index_of(detail):
    if match := re.search(r"INDEX (\w+)", detail):
        name = match[1]
        return f"key {name}" if name.startswith("sqlite_autoindex") else name
    return "key" if "PRIMARY KEY" in detail else "table"


@pytest.mark.parametrize(
    ("model", "query", "index"),
    [
        (Execution, "?status__exact=failed", "dm_execution_status"),
        (Execution, "?name=rare", "dm_execution_name"),
        (Execution, "?error=RareError", "dm_execution_error"),
        (Execution, "?attention=failed", "dm_execution_failures"),
        (Execution, "?attention=person", "dm_call_open"),
        (Execution, "?attention=stuck", "dm_execution_due"),
        (Call, "?waiting=person", "dm_call_open"),
        (Call, "?waiting=worker", "dm_call_open"),
        (Call, "?waiting=sleep", "dm_call_open"),
        (Call, "?status__exact=failed", "dm_call_unsuccessful"),
        (Call, "?status__exact=cancelled", "dm_call_unsuccessful"),
        (Call, "?function=rare", "dm_call_function"),
        (Call, "?q=rare", "dm_call_function"),
    ],
)
def test_by_index(plans, model, query, index):
    found = plans(model, query)

    assert index in found
    assert "table" not in found


# Not here: all calls, and the completed ones, which most are. They walk along the key, and stop.
@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Execution, ""),
        (Execution, "?p=2"),
        (Execution, "?q=key-10"),
        (Execution, "?q=0123"),
        (Execution, "?q=rare"),
        (Execution, "?created=day"),
        (Execution, "?function=approve"),
        (Call, "?q=0123"),
        (Snapshot, ""),
        (Snapshot, "?q=0123"),
    ],
)
def test_by_some_index(plans, model, query):
    assert "table" not in plans(model, query)

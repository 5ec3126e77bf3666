import json
import uuid

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from durable_monty import OrchestratorService
from durable_monty.models import Call, Execution
from durable_monty.models.clock import database_now
from durable_monty.operations import journal, rows, sql
from durable_monty.operations.postgresql import calls, commit, executions, prepared
from durable_monty.operations.postgresql.prepared import rows_of
from durable_monty.operations.shortcuts import shortcuts_of

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = uuid.uuid4()

only_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="elsewhere statements are not prepared"
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(prepared, "_refused", set())


def one(value=7):
    return rows_of("SELECT %s + 1", [value], "default")


def prepared_now():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'durable_monty%%'")
        return {name for (name,) in cursor.fetchall()}


@only_postgresql
def test_what_is_used_often_is_prepared():
    connection.close()
    assert [one() for _ in range(5)] == [[(8,)]] * 5
    assert prepared_now() == set()
    assert [one(number) for number in (1, 2)] == [[(2,)], [(3,)]]
    assert len(prepared_now()) == 1


@only_postgresql
def test_plan_is_made_anew_after_a_while(monkeypatch):
    """The table that it was made for may have been empty."""
    connection.close()
    monkeypatch.setattr(prepared, "_FRESH", 0.0)
    for _ in range(7):
        one()
    before = prepared_now()
    assert one() == [(8,)]
    assert len(prepared_now()) == len(before) == 1
    assert prepared_now() != before


@only_postgresql
def test_pooler_that_changes_servers(log):
    """Another server has no such statement: it is run as it is, and none is prepared again."""
    for _ in range(7):
        one()
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert one() == [(8,)]
    assert "no prepared statements from here on: " in log.text
    assert [one() for _ in range(7)] == [[(8,)]] * 7
    assert prepared_now() == set()


@only_postgresql
def test_its_own_error_is_raised():
    for _ in range(7):
        one()
    with pytest.raises(ProgrammingError):
        rows_of("SELECT nothing", [], "default")
    assert one() == [(8,)]


@pytest.fixture
def many(service):
    """Of which few are due. Nobody has gathered statistics."""
    service.start_execution("await approve(1)", ["approve"])
    Execution.objects.update(due_at=None, status="waiting")
    work_of = {Execution: Execution.objects.get()}
    work_of[Call] = Call(
        execution=work_of[Execution], created_at=work_of[Execution].created_at, call_id=0,
        function="approve", executor="manual", turn=1, args="[]", kwargs="{}", position_start=0,
        position_end=1,
    )  # fmt: skip
    keys = [uuid.uuid4() for _ in range(50_000)]
    for model, owner in ((Execution, "id"), (Call, "execution_id")):
        names = [field.attname for field in model._meta.concrete_fields]
        constants = {name: getattr(work_of[model], name) for name in {*names} - {"id", owner}}
        rows.insert(
            model, (owner,), [(key,) for key in keys], constants=constants, using="default"
        )


@pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="PostgreSQL claims by other statements"
)
def test_claims_of_sqlite_read_find_due_by_its_index(many):
    now = database_now("default")
    assert "dm_execution_due" in Execution.objects.due(now).order_by("due_at").explain()
    wanted = Call.objects.filter(executor__in=["default"], function__in=["add"], job_id="")
    assert "dm_call_due" in wanted.due(now).order_by("due_at").explain()
    OrchestratorService().start_execution("1", [])
    with CaptureQueriesContext(connection) as captured:
        assert shortcuts_of("default").claim_executions(64, None)
    queries = [query["sql"] for query in captured]
    look, take, change = [sql for sql in queries if sql.startswith(("SELECT", "UPDATE"))]
    with connection.cursor() as cursor:
        for sql, index in [
            (look, "dm_execution_due"),
            (take, "dm_execution_due"),
            (change, "sqlite_autoindex_durable_monty_execution_1"),
        ]:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", None)
            plan = "\n".join(row[-1] for row in cursor.fetchall())
            assert index in plan, plan
            assert "SCAN durable_monty" not in plan
            assert "TEMP B-TREE" not in plan


def plan_of(cursor, sql, values):
    cursor.execute(f"EXPLAIN {sql}", values)
    return "\n".join(line for (line,) in cursor.fetchall())


@only_postgresql
@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (executions.CLAIM, [0, 64, TOKEN, 60, None], "dm_execution_due"),
        (calls.CLAIM, [0, 64, ["default"], ["add"], TOKEN, 60, None], "dm_call_due"),
    ],
)
@pytest.mark.parametrize("is_analysed", [False, True])
def test_claims_of_postgresql_read_find_due_by_its_index(
    many, statement, values, index, is_analysed
):
    with connection.cursor() as cursor:
        if is_analysed:
            cursor.execute("ANALYZE")
        plan = plan_of(cursor, statement, values)
    assert index in plan, plan
    assert "Seq Scan on durable_monty" not in plan


@only_postgresql
@pytest.mark.parametrize("is_analysed", [False, True])
def test_answers_are_read_by_an_index(many, is_analysed):
    with connection.cursor() as cursor:
        if is_analysed:
            cursor.execute("ANALYZE")
        with CaptureQueriesContext(connection) as captured:
            journal.find_answers([uuid.uuid4()], "default")
        plan = plan_of(cursor, captured[0]["sql"], None)
    assert "Index Scan" in plan, plan
    assert "Seq Scan on durable_monty_call" not in plan


@only_postgresql
@pytest.mark.parametrize("is_analysed", [False, True])
def test_plans_are_kept_and_read_no_table(many, is_analysed):
    """To plan such a statement takes as long as what it does."""
    key = uuid.uuid4()
    call, execution = [{"id": 7, "number": 0}], [{"id": key.hex, "number": 0}]
    written = [0, None, json.dumps(execution), "[]", 30, 60]
    statements = [
        (executions.CLAIM, [0, 64, TOKEN, 60, None]),
        (calls.CLAIM, [0, 64, ["default"], ["add"], TOKEN, 60, None]),
        (calls.START, [0, [7], [TOKEN], ["add"], 60]),
        (calls.SETTLE, [0, json.dumps(call)]),
        (commit.statement("default", has_earlier=False), written),
        (commit.statement("default", has_earlier=True), [*written, json.dumps(call)]),
    ]
    connection.close()
    with connection.cursor() as cursor:
        if is_analysed:
            cursor.execute("ANALYZE")
        for statement, values in statements:
            for _ in range(prepared._OFTEN + 8):
                rows_of(statement, values, "default")
        cursor.execute("SELECT generic_plans FROM pg_prepared_statements")
        assert cursor.fetchall() == [(3,)] * len(statements)
        for statement, values in statements:
            name = prepared._of[connection.connection].prepared[statement][0]
            plan = plan_of(cursor, f"EXECUTE {name}({sql.placeholders(values)})", values)
            assert "Seq Scan on durable_monty_call" not in plan, plan
            assert "Seq Scan on durable_monty_execution" not in plan, plan


@only_postgresql
@pytest.mark.parametrize("trouble", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_nothing_prepared_is_used_in_the_callers_transaction(trouble):
    """Its error would abort that."""
    for _ in range(7):
        one()
    with connection.cursor() as cursor:
        cursor.execute(trouble)
    with transaction.atomic():
        assert [one() for _ in range(9)] == [[(8,)]] * 9
        assert prepared_now() == set()


@only_postgresql
@pytest.mark.parametrize("is_stale", [False, True])
def test_statements_of_another_client_are_not_taken_for_ours(monkeypatch, is_stale):
    """Its name is used by a client of the same pooler, which had this server before."""
    connection.close()
    with connection.cursor() as cursor:
        for number in range(3):
            cursor.execute(f"PREPARE durable_monty_{number} (integer) AS SELECT $1 + 1000")
    assert [one() for _ in range(9)] == [[(8,)]] * 9
    monkeypatch.setattr(prepared, "_FRESH", 0.0)
    if is_stale:
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")
    assert [one() for _ in range(9)] == [[(8,)]] * 9

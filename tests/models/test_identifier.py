"""Identifiers are compared by their characters, whatever the collation of the database."""

import pytest
from django.db import connection

from durable_monty.models import Call, Execution, Program, WorkerProcess
from durable_monty.models.clock import database_now
from tests.support import run

pytestmark = pytest.mark.django_db

# The usual collations of MariaDB and MySQL take each line for one text.
ALIKE = [
    ("AbC1", "abc1", "abc1 ", "ábc1"),
    ("r\u00e9sum\u00e9", "resume", "re\u0301sume\u0301"),
    ("stra\u00dfe", "strasse"),
    ("\u4f60", "\u4f61", "\U0001f600", "\U0001f601"),
]


@pytest.mark.parametrize("texts", ALIKE)
def test_keys_that_look_alike_are_different_keys(service, texts):
    started = [service.start_execution("1", [], {"n": n}, key=key) for n, key in enumerate(texts)]

    assert len({*started}) == len(texts)
    for n, key in enumerate(texts):
        assert service.start_execution("1", [], {"n": n}, key=key) == started[n]
        assert Execution.objects.get(key=key).inputs == f'{{"n":{n}}}'


@pytest.mark.parametrize("texts", ALIKE)
def test_names_and_errors_that_look_alike_are_different_ones(texts):
    for text in texts:
        run("1", name=text)
        Program.objects.create(sha256=text, source="1", functions_json="{}")
    execution = Execution.objects.first()
    Execution.objects.filter(pk=execution.pk).update(error_type=texts[0])
    now = database_now("default")
    for number, text in enumerate(texts):
        columns = {"turn": 1, "position_start": 0, "position_end": 1, "created_at": now}
        Call.objects.create(
            execution=execution,
            call_id=number,
            function=text,
            executor=text,
            job_id=text,
            error_type=text,
            **columns,
        )
        WorkerProcess.objects.create(
            host=text, executor=text, pid=1, started_at=now, heartbeat_at=now
        )

    for text in texts:
        assert Execution.objects.filter(name=text).count() == 1
        assert Execution.objects.filter(error_type=text).count() == (text == texts[0])
        assert Program.objects.filter(sha256=text).count() == 1
        assert WorkerProcess.objects.filter(host=text, executor=text).count() == 1
        for column in ("function", "executor", "job_id", "error_type"):
            assert Call.objects.filter(**{column: text}).count() == 1
    assert Call.objects.order_by().values("function").distinct().count() == len(texts)


def test_the_longest_key_is_indexed(service):
    key = "\U0001f600" * 200
    assert service.start_execution("1", [], key=key) == service.start_execution("1", [], key=key)


@pytest.mark.skipif(connection.vendor != "mysql", reason="about collations of MySQL")
def test_every_text_that_names_something_has_a_binary_collation():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name LIKE 'durable_monty_%%' "
            "AND data_type = 'varchar' AND collation_name NOT IN (%s, %s)",
            ["utf8mb4_nopad_bin", "utf8mb4_0900_bin"],
        )
        found = {f"{table.removeprefix('durable_monty_')}.{name}" for table, name in cursor}
    # Texts of ours with few values, and those that nobody looks up.
    assert found == {
        "execution.status",
        "execution.seed",
        "call.kind",
        "call.status",
        "call.progress_message",
        "call.completed_by_name",
        "program.entry",
        "attempt.outcome",
        "snapshot.signature",
        "workerprocess.version",
        "workerprocess.sandbox_version",
    }

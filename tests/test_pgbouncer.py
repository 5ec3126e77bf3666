"""Behind PgBouncer in transaction mode each transaction may have another server."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from django.db import connection, transaction

from durable_monty import OrchestratorService
from durable_monty.operations.postgresql import prepared
from tests.pgbouncer import is_installed, pgbouncer
from tests.processes import completed, runworker
from tests.support import SEVEN_CALLS, seven_calls_output

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="it is PostgreSQL's"),
]


@pytest.fixture
def pooler(tmp_path, monkeypatch):
    """New connections, of this process and of workers, go through it."""
    if not is_installed():
        assert "CI" not in os.environ, "pgbouncer is not installed"
        pytest.skip("pgbouncer is not installed")
    with pgbouncer(tmp_path / "pgbouncer", servers=6) as port, monkeypatch.context() as patch:
        connection.close()
        patch.setattr(prepared, "_refused", set())
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", str(port))
        yield
        connection.close()


def start_some(x):
    """Each in a transaction of its own, and all in one of the caller's, from one connection."""
    service, ids = OrchestratorService(), []
    try:
        ids += [
            service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for _ in range(8)
        ]
        barrier.wait(30)
        with transaction.atomic():
            ids += [
                service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": x}) for _ in range(8)
            ]
    finally:
        connection.close()
    return [(pk, x) for pk in ids]


barrier = threading.Barrier(8)


def test_no_start_and_no_worker_fails(pooler, tmp_path):
    with ExitStack() as stack:
        options = {"settings": {"LEASE": 10}}
        workers = [
            stack.enter_context(runworker(tmp_path, "--executor=local", "--workers=2", **options))
            for _ in range(4)
        ]
        with ThreadPoolExecutor(8) as threads:
            started = [pair for pairs in threads.map(start_some, range(8)) for pair in pairs]
        assert len(started) == 128
        for pk, _x in started:
            for worker in workers:
                worker.until(lambda pk=pk: completed(pk), "all complete")
        for worker in workers:
            worker.signal(signal.SIGTERM)
        for worker in workers:
            worker.ends(0)
            assert "ERROR" not in worker.log.read_text(), worker.tail()
    service = OrchestratorService()
    assert [service.get_result(pk) for pk, _x in started] == [
        seven_calls_output(x) for _pk, x in started
    ]


def test_nothing_is_prepared_through_it(pooler, service, log):
    for _ in range(2 * prepared._OFTEN):
        service.start_execution("1", [])
    assert "no prepared statements: the database is behind a pooler" in log.messages
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements")
        assert cursor.fetchall() == []

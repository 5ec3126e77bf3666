"""A worker ends only when it is told to: the database refuses, ends sessions, is read-only."""

import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection

from durable_monty import LocalExecutor, OrchestratorService, Worker, operations
from durable_monty.engine.run import LiveRun
from durable_monty.executors import lease
from durable_monty.executors.group import ExecutorGroup
from durable_monty.models import Call, Execution
from durable_monty.operations import settle
from durable_monty.operations.postgresql import PostgreSQL
from tests.processes import completed, runworker, until
from tests.support import SEVEN_CALLS, seven_calls_output
from tests.test_crashes import drop_connections
from tests.test_worker import Jobs, round_of, rounds_until_written

pytestmark = pytest.mark.django_db(transaction=True)

only_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="a database of its own kind"
)

# What inserting a call does, by the database.
_TROUBLES = {
    "postgresql": {
        "session ended": "PERFORM pg_terminate_backend(pg_backend_pid())",
        "disk full": "RAISE 'could not extend file' USING ERRCODE = '53100'",
        "read-only": "RAISE 'in a read-only transaction' USING ERRCODE = '25006'",
        "row refused": "RAISE 'out of range' USING ERRCODE = '22003'",
        "table gone": "PERFORM 1 FROM nowhere",
    },
    "mysql": {
        "disk full": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'full'",
        "read-only": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'",
        "row refused": "SIGNAL SQLSTATE '22003' SET MYSQL_ERRNO = 1264, MESSAGE_TEXT = 'range'",
    },
    "sqlite": {"row refused": "SELECT RAISE(ABORT, 'refused')"},
}


@contextmanager
def trouble(what):
    """Until the end of the block, calls cannot be inserted."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {what}; RETURN NEW; END $$"
            )
            what = "EXECUTE FUNCTION trouble()"
        elif connection.vendor == "sqlite":
            what = f"BEGIN {what}; END"
        cursor.execute(
            f"CREATE TRIGGER trouble BEFORE INSERT ON durable_monty_call FOR EACH ROW {what}"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION trouble() CASCADE")
            else:
                cursor.execute("DROP TRIGGER trouble")


@pytest.mark.parametrize("what", sorted({what for each in _TROUBLES.values() for what in each}))
def test_a_worker_outlasts_whatever_a_commit_meets(tmp_path, what):
    if what not in _TROUBLES[connection.vendor]:
        pytest.skip("not of this database")
    service = OrchestratorService()
    # Its call has time-outs: its row is written by COPY.
    execution_id = service.start_execution("await wait_in_time('a')", ["wait_in_time"])
    with runworker(tmp_path, "--executor=local", settings={"LEASE": 1}) as process:
        with trouble(_TROUBLES[connection.vendor][what]):
            begun = service.start_execution("await wait_in_time('b')", ["wait_in_time"])
            process.until(
                lambda: (
                    "commit is tried again" in (log := process.log.read_text())
                    or "commit was refused" in log
                ),
                "a commit is refused",
            )
        for each in (execution_id, begun):
            process.until(lambda e=each: completed(e), "it goes on")
            assert service.get_result(each) in {"a", "b"}
        process.signal(signal.SIGTERM)
        process.ends(0)


@only_postgresql
@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_a_read_only_database_is_waited_for(tmp_path, executor):
    """As after a failover, until the clients find the new primary."""
    service = OrchestratorService()
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with runworker(
        tmp_path, f"--executor={executor}", "--workers=2", settings={"LEASE": 1}
    ) as process:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            try:
                drop_connections()
                execution_id = service.start_execution("await add(1, 2)", ["add"])
                process.until_logged("read-only transaction")
            finally:
                cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        process.until(lambda: completed(execution_id), "it goes on")
        process.signal(signal.SIGTERM)
        process.ends(0)
    assert service.get_result(execution_id) == 3


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="a file of its own kind")
def test_a_read_only_file_is_waited_for(service, log, monkeypatch):
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    look = Worker.do_timed_work

    def read_only_once(self):
        monkeypatch.setattr(Worker, "do_timed_work", look)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = 1")
        operations.beat(self.worker_id, using="default")

    monkeypatch.setattr(Worker, "do_timed_work", read_only_once)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert service.get_result(execution_id) == 3
    assert "attempt to write a readonly database" in log.text


@pytest.mark.parametrize("error", [OverflowError, LookupError, MemoryError])
def test_any_error_of_a_round_is_logged_and_the_next_one_follows(service, monkeypatch, log, error):
    execution_id = service.start_execution("await add(1, 2)", ["add"])
    failures = [error("too much")] * 3

    def fails(self):
        if failures:
            raise failures.pop()

    monkeypatch.setattr(ExecutorGroup, "check", fails)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert service.get_result(execution_id) == 3
    told = [
        (record.levelno, record.getMessage(), record.exc_info is not None)
        for record in log.records
        if record.levelno >= logging.WARNING
    ]
    text = "A round of the worker failed and will be tried again in {} s: {}: too much"
    assert told == [
        (logging.ERROR, text.format(0.1, error.__name__), True),
        (logging.WARNING, text.format(0.2, error.__name__), False),
        (logging.WARNING, text.format(0.4, error.__name__), False),
    ]


def test_an_error_of_the_only_round_is_raised(service, monkeypatch):
    def fails(self):
        raise LookupError("a bug of ours")

    monkeypatch.setattr(Worker, "do_timed_work", fails)
    with pytest.raises(LookupError, match="a bug of ours"):
        Worker(service, LocalExecutor()).run(once=True)


def test_one_refused_row_puts_off_one_execution(service, log):
    """The others of its commit are written."""
    ids = [
        service.start_execution("await wait_in_time(x)", ["wait_in_time"], {"x": x})
        for x in ("good", "refused", "fine")
    ]
    claimed = operations.claim_executions(10, using="default")
    refuse = {
        "postgresql": "IF NEW.args LIKE '%refused%' THEN RAISE 'no' USING ERRCODE = '22003'; "
        "END IF",
        "mysql": "IF NEW.args LIKE '%refused%' THEN "
        "SIGNAL SQLSTATE '22003' SET MYSQL_ERRNO = 1264; END IF",
        "sqlite": "SELECT RAISE(ABORT, 'no') WHERE NEW.args LIKE '%refused%'",
    }[connection.vendor]
    with trouble(refuse), ThreadPoolExecutor(2) as threads:
        operations.advance_executions(claimed, using="default", threads=threads)
    assert [Call.objects.filter(execution=pk).count() for pk in ids] == [1, 0, 1]
    refused = Execution.objects.get(pk=ids[1])
    assert (refused.status, refused.faults, refused.claim) == ("scheduled", 1, None)
    (refusal,) = [text for text in log.messages if text.startswith("commit was refused: ")]
    assert f"execution {refused.pk} (unnamed), turn 1: " in refusal


def test_an_answer_that_the_database_refuses_fails_its_call_alone(service, monkeypatch):
    settle_attempts = settle.settle_attempts

    def refuses(answers, *, using, blocked=None):
        if any(answer.result == '"poison"' for _claimed, answer in answers):
            raise OverflowError("Python int too large")
        return settle_attempts(answers, using=using, blocked=blocked)

    monkeypatch.setattr(settle, "settle_attempts", refuses)
    monkeypatch.setattr(PostgreSQL, "commit", lambda shortcuts, outcomes: None)
    source = """
try:
    found = await wait_in_time(x)
except RuntimeError as error:
    found = str(error)
found
"""
    ids = [
        service.start_execution(source, ["wait_in_time"], {"x": x}) for x in ("a", "poison", "b")
    ]
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert [service.get_result(pk) for pk in ids] == [
        "a",
        "The database refused the answer: OverflowError: Python int too large",
        "b",
    ]


def test_only_the_sign_off_failed(service, monkeypatch, log):
    """All work is recorded: that is a warning, not running calls that were cut off."""
    execution_id = service.start_execution("await add(1, 2)", ["add"])

    def fails(worker_id, *, using):
        raise LookupError("the table is gone")

    monkeypatch.setattr(operations, "retire_worker", fails)
    assert Worker(service, LocalExecutor()).run(until_complete=True) is True
    assert service.get_result(execution_id) == 3
    assert "worker not signed off: the table is gone" in log.messages


def test_a_job_that_cannot_be_asked_for_does_not_keep_others_waiting(service, move_clock, log):
    class Broken(Jobs):
        def check_job(self, job_id):
            if job_id == "job-0":
                raise ConnectionError("the other machine is away")
            return {"status": "finished", "result": 7}

    ids = [service.start_execution("await add(x, 1)", ["add"], {"x": x}) for x in (1, 2)]
    worker = Worker(service, Broken())
    jobs = Call.objects.exclude(job_id="")
    until(lambda: (round_of(worker), jobs.count() == 2)[1], "both are submitted")
    move_clock(1)
    until(lambda: (round_of(worker), completed(ids[1]))[1], "the other one's answer is taken")
    assert service.poll(ids[0])["status"] == "waiting"
    assert "job not checked: call 0 of execution " in log.text


def test_leases_are_renewed_after_an_error(service, durable_settings, monkeypatch, tmp_path, log):
    durable_settings(LEASE=1.5)
    renew, failures = lease.renew_calls, [OverflowError("too large")]

    def fails_once(claims, *, using):
        if failures:
            raise failures.pop()
        return renew(claims, using=using)

    monkeypatch.setattr(lease, "renew_calls", fails_once)
    service.start_execution(
        "await block_until(gate)", ["block_until"], {"gate": str(tmp_path / "gate")}
    )
    executor = LocalExecutor()
    worker = Worker(service, executor)
    rounds_until_written(worker)
    before = Call.objects.get().due_at
    until(lambda: Call.objects.get().due_at > before, "the lease is renewed")
    (tmp_path / "gate").write_text("")
    executor.stop(10)
    round_of(worker)
    assert failures == []
    told = "Renewing leases failed and will be tried again in 0.1 s: OverflowError: too large"
    assert told in log.messages


@pytest.mark.parametrize("where", ["result", "undo_turn", "start_calls"])
def test_an_execution_is_not_held_for_ever_after_an_error(
    service, monkeypatch, durable_settings, where
):
    """It goes on from the journal, at once or when its lease has run out."""
    durable_settings(LEASE=1.0)
    execution_id = service.start_execution(SEVEN_CALLS, ["add", "double"], {"x": 2})
    method, failures = getattr(LiveRun, where), [LookupError("a bug of ours")]

    def fails_once(self, *args, **options):
        if failures:
            raise failures.pop()
        return method(self, *args, **options)

    monkeypatch.setattr(LiveRun, where, fails_once)
    if where == "undo_turn":
        advance, faults = LiveRun.advance, [LookupError("another")]

        def fails(self):
            if faults:
                raise faults.pop()
            return advance(self)

        monkeypatch.setattr(LiveRun, "advance", fails)
    Worker(service, LocalExecutor()).run(until_complete=True)
    assert (service.get_result(execution_id), failures) == (seven_calls_output(2), [])

"""Functions that leave their connection in a bad state: their calls are answered, once, and what
runs next in that thread does not suffer from it."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections

from durable_monty import LocalExecutor, Worker
from durable_monty.executors.transactions import open_transactions, put_right
from durable_monty.models import Call
from tests.processes import manage

pytestmark = pytest.mark.django_db(transaction=True)

# After it another function writes and reads, in the same thread.
SOURCE = """
try:
    said = await {function}(how)
except (RuntimeError, ValueError) as error:
    said = str(error).removeprefix("TransactionLost: ")
[said, await count_groups()]
"""
REMEDY = (
    " on the database 'default'. What it wrote there was rolled back. Use transaction.atomic(), "
    "and catch errors of the database outside of it."
)
OPEN, BROKEN = "left a transaction open", "left a broken transaction"
ENDED = "ended the transaction in which it ran"

# What it does: what the workflow sees of it (None: its result), and how many rows are left.
CARELESS = {
    "autocommit_off": (OPEN, 0),
    "autocommit_off_and_committed": (None, 1),
    "autocommit_off_and_failed": ("no", 0),
    "begin": (OPEN, 0),
    "atomic_entered": (OPEN, 0),
    "atomic_entered_twice": (OPEN, 0),
    "savepoint": (OPEN, 0),
    "error_swallowed_inside": (BROKEN, 0),
    "error_swallowed_outside": (None, 1),
    "closed": (None, 1),
    "closed_under_django": (None, 1),
    "lock_table": (OPEN, 0),
    "open_cursor": (None, 1),
}
IN_TRANSACTION = {
    "atomic_entered": (OPEN, 0),
    "atomic_entered_twice": (OPEN, 0),
    "savepoint": (OPEN, 0),
    "swallow": (BROKEN, 0),
    "closed": (ENDED, 0),
    "closed_under_django": (ENDED, 0),
}


def start(service, function, how):
    return service.start_execution(
        SOURCE.format(function=function), [function, "count_groups"], {"how": how}
    )


def seen(function, how, table):
    what, rows = table[how]
    if (how, connection.vendor) == ("lock_table", "mysql"):
        what, rows = None, 1  # it is no transaction: each statement was committed
    said = f"{function}() {what}{REMEDY}" if what in (OPEN, BROKEN, ENDED) else what
    return [said or how, rows]


@pytest.mark.parametrize("how", CARELESS)
@pytest.mark.parametrize("function", ["careless", "careless_async"])
def test_what_is_left_in_a_thread_of_the_local_executor(service, function, how):
    execution_id = start(service, function, how)
    assert Worker(service, LocalExecutor(1)).run(until_complete=True) is True
    assert service.get_result(execution_id) == seen(function, how, CARELESS)
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.parametrize("how", IN_TRANSACTION)
def test_what_is_left_in_the_transaction_of_the_answer(service, how):
    function = "careless_in_transaction"
    execution_id = start(service, function, how)
    assert Worker(service, LocalExecutor(1)).run(until_complete=True) is True
    assert service.get_result(execution_id) == seen(function, how, IN_TRANSACTION)
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_what_is_left_in_a_process_of_the_cluster(service, tmp_path):
    """The answer is recorded on the connection that the function had."""
    with manage(tmp_path, "runworker", "--workers=1") as process:
        process.until_ready()
        for function in ("careless", "careless_async", "careless_in_transaction"):
            table = IN_TRANSACTION if function == "careless_in_transaction" else CARELESS
            for how in [*table, *(["another_session"] if table is CARELESS else [])]:
                Group.objects.all().delete()
                execution_id = start(service, function, how)
                wanted = [how, 1] if how == "another_session" else seen(function, how, table)
                assert service.wait(execution_id, 30) == wanted, process.tail()
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_failed_attempt_is_retried(service, register):
    """What it wrote is rolled back, so that it may be run again."""
    from durable_monty import Retry
    from tests.app import careless

    attempts = []

    def forgetful():
        attempts.append(1)
        if len(attempts) == 1:
            careless.begin()
        return len(attempts)

    register("forgetful", forgetful, retry=Retry(2, initial=0))
    execution_id = service.start_execution("await forgetful()", ["forgetful"])
    Worker(service, LocalExecutor(1)).run(until_complete=True)
    assert service.get_result(execution_id) == 2
    assert Call.objects.get().attempts.get().error_message == (f"forgetful() {OPEN}{REMEDY}")


def test_nothing_is_asked_of_connections_that_are_right(django_assert_num_queries):
    Group.objects.exists()
    before = open_transactions()
    with django_assert_num_queries(0):
        assert put_right(before) == []
    assert connections["default"] is not None

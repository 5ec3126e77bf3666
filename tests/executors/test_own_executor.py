import re

import pytest

from durable_monty import OrchestratorService, Worker
from durable_monty.exceptions import JobLost
from durable_monty.models import Attempt, Call
from tests.documents import DOCS
from tests.processes import result, start
from tests.support import seven_calls_output

pytestmark = pytest.mark.django_db(transaction=True)

GUIDE = DOCS / "how-to" / "write-an-executor.md"


@pytest.fixture
def pool_executor():
    """The class of the guide's code block."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names = {}
    exec(block, names)
    executor = names["PoolExecutor"](2)
    yield executor
    executor.stop(0)


def test_the_guides_executor_runs_a_workflow(pool_executor):
    execution_id = start(4)
    failing = OrchestratorService().start_execution(
        """
try:
    await fail("ValueError", "no")
except Exception as exc:
    caught = str(exc)
caught
""",
        ["fail"],
    )
    assert Worker(OrchestratorService(), pool_executor).run(until_complete=True) is True
    assert result(execution_id) == seven_calls_output(4)
    assert result(failing) == "ValueError: no"
    assert pool_executor.get_stats() == {"jobs": 0}
    assert set(Call.objects.values_list("attempt", flat=True)) == {1}


def test_a_job_that_was_lost_is_submitted_again(pool_executor):
    execution_id = start(4)
    submit, lost = pool_executor.submit_call, []

    def lose_the_first(call):
        job_id = submit(call)
        if not lost:
            lost.append(pool_executor.jobs.pop(job_id))
        return job_id

    pool_executor.submit_call = lose_the_first
    Worker(OrchestratorService(), pool_executor).run(until_complete=True)
    assert result(execution_id) == seven_calls_output(4)
    assert sorted(Call.objects.values_list("attempt", flat=True)) == [1] * 6 + [2]


def test_jobs_that_die_three_times_in_a_row_are_given_up(pool_executor):
    def check_job(job_id):
        raise JobLost(job_id, "killed by signal 9.")

    pool_executor.check_job = check_job
    execution_id = OrchestratorService().start_execution(
        "try:\n    await add(1, 2)\nexcept RuntimeError as exc:\n    caught = str(exc)\ncaught",
        ["add"],
    )
    pool_executor.capacity = lambda: 2  # what became of its jobs is unknown to it
    Worker(OrchestratorService(), pool_executor).run(until_complete=True)
    assert result(execution_id) == (
        "add() was given up: its worker vanished 3 times in a row while it ran. It may be what "
        "kills the process."
    )
    assert list(Attempt.objects.values_list("outcome", flat=True)) == ["lost"] * 3

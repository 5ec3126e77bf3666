"""Functions that run in a worker process of RQ, which has neither Django nor the database.

It needs the extra `rq` and a Redis, at `REDIS_URL` or on this machine. In production RQ's workers
are started by themselves; here this script starts one, and ends it.
"""

import os
import subprocess
import sys
from pathlib import Path

import django
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()
call_command("migrate", verbosity=0)

from durable_monty import FUNCTION_REGISTRY, OrchestratorService, Worker
from durable_monty.executors.rq import RQExecutor
from example_project.examples.functions import square, total

CODE = """
from asyncio import gather

squares = await gather(*[square(number) for number in numbers])
await total(squares)
"""


def main() -> None:
    FUNCTION_REGISTRY["square"] = square
    FUNCTION_REGISTRY["total"] = total
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    queue = f"durable_monty_example_{os.getpid()}"
    service = OrchestratorService()
    inputs = {"numbers": [1, 2, 3, 4, 5]}
    execution_id = service.start_execution(CODE, ["square", "total"], inputs)
    rq = str(Path(sys.executable).with_name("rq"))
    options = ["--url", url, "--serializer", "json", "--path", str(ROOT)]
    process = subprocess.Popen([rq, "worker", queue, *options])
    try:
        executor = RQExecutor(queue_name=queue, url=url, mode="result")
        Worker(service, executor).run(until_complete=True)
    finally:
        process.terminate()
        process.wait()
    print("result:", service.get_result(execution_id))


if __name__ == "__main__":
    main()

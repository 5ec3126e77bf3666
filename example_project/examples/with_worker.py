"""A worker runs the functions in threads of this process, until no work is left."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()
call_command("migrate", verbosity=0)

from durable_monty import FUNCTION_REGISTRY, LocalExecutor, OrchestratorService, Worker
from example_project.examples.functions import square, total

CODE = """
from asyncio import gather

squares = await gather(*[square(number) for number in numbers])
await total(squares)
"""


def main() -> None:
    FUNCTION_REGISTRY["square"] = square
    FUNCTION_REGISTRY["total"] = total
    service = OrchestratorService()
    inputs = {"numbers": [1, 2, 3, 4, 5]}
    execution_id = service.start_execution(CODE, ["square", "total"], inputs)
    Worker(service, LocalExecutor()).run(until_complete=True)
    print("result:", service.get_result(execution_id))


if __name__ == "__main__":
    main()

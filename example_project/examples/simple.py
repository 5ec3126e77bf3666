"""This script is the worker of its workflow, and answers the calls itself."""

import os
import sys
from pathlib import Path

import django
from django.core.management import call_command

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()
call_command("migrate", verbosity=0)

from durable_monty import FUNCTION_REGISTRY, OrchestratorService
from example_project.examples.functions import square, total

CODE = """
from asyncio import gather

squares = await gather(square(2), square(3), square(4))
await total(squares)
"""


def main() -> None:
    FUNCTION_REGISTRY["square"] = square
    FUNCTION_REGISTRY["total"] = total
    service = OrchestratorService()
    execution_id = service.start_execution(CODE, ["square", "total"])
    while service.process_execution(execution_id) == "waiting":
        for call in service.get_pending_calls(execution_id):
            function = FUNCTION_REGISTRY[call["function_name"]]
            result = function(*call["args"], **call["kwargs"])
            print(f"{call['function_name']}{call['args']} is {result}")
            service.complete_call(execution_id, call["call_id"], result)
    print("result:", service.get_result(execution_id))


if __name__ == "__main__":
    main()

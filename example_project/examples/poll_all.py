"""Starts many executions, and polls all of them while a worker runs them."""

import os
import sys
import threading
import time
from collections import Counter
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
first = await square(number)
second = await square(first)
await total([first, second])
"""


def main() -> None:
    FUNCTION_REGISTRY["square"] = square
    FUNCTION_REGISTRY["total"] = total
    service = OrchestratorService()
    ids = {
        service.start_execution(CODE, ["square", "total"], {"number": number})
        for number in range(1, 11)
    }
    worker = Worker(service, LocalExecutor(threads=2))
    thread = threading.Thread(target=worker.run)
    thread.start()
    while open_now := [each for each in service.poll() if each["execution_id"] in ids]:
        print("unfinished:", dict(Counter(each["status"] for each in open_now)))
        time.sleep(0.1)
    worker.stop()
    thread.join()
    print("result:", sorted(service.get_result(each) for each in ids))


if __name__ == "__main__":
    main()

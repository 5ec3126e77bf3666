"""Many clients complete many calls at their URLs, with duplicates, forged and expired tokens.

    DATABASE_URL=... python -m tests.webhooks.load --calls 5000 --clients 50

migrates the database, makes the calls, serves `create_app()` with uvicorn, and says how many
completions there were in a second. It fails if an answer was lost, or a bad request was not
refused with its status.
"""

import argparse
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

EACH = 100  # calls of an execution
EXPECTED = {"answer": 200, "duplicate": 200, "forged": 401, "expired": 410}
SOURCE = """
from asyncio import gather
await gather(*[loaded(first + number) for number in range(count)])
"""


def make_calls(count):
    """Open calls of `loaded`, each with a claim under which it was started."""
    from durable_monty import OrchestratorService, operations
    from durable_monty.models import Call

    service = OrchestratorService()
    executions = {}
    for first in range(0, count, EACH):
        size = min(EACH, count - first)
        inputs = {"first": first, "count": size}
        execution_id = service.start_execution(SOURCE, ["loaded"], inputs)
        service.process_execution(execution_id)
        executions[execution_id] = [2 * (first + number) for number in range(size)]
        claims = operations.claim_calls(["loaded"], ["load"], 10_000, using="default")
        operations.start_attempts(claims, using="default")
    calls = list(Call.objects.filter(execution__in=executions).order_by("pk"))
    assert len(calls) == count
    assert all(call.claim and call.is_open for call in calls)
    return executions, calls


def make_requests(calls, chance):
    """(kind, path, body), shuffled: 10% duplicates, 5% forged and 5% expired tokens."""
    from durable_monty.webhooks import call_url

    def path(call, **options):
        return call_url(call, base_url="", **options)

    def body(call):
        (number,) = json.loads(call.args)
        return json.dumps({"status": "finished", "result": 2 * number})

    def forged(call):
        other = path(chance.choice(calls))
        return path(call).rpartition(":")[0] + ":" + other.rpartition(":")[2][::-1]

    requests = [("answer", path(call), body(call)) for call in calls]
    requests += chance.sample(
        [("duplicate", *rest) for _kind, *rest in requests], len(calls) // 10
    )
    some = chance.sample(calls, len(calls) // 10)
    half = len(some) // 2
    # Wrong answers: if one were taken, an execution would have another output.
    wrong = json.dumps({"result": -1})
    requests += [("forged", forged(call), wrong) for call in some[:half]]
    requests += [("expired", path(call, seconds=-10), wrong) for call in some[half:]]
    chance.shuffle(requests)
    return requests


def post_all(port, requests, clients):
    """(seconds, Counter of (kind, status)), of clients that keep their connections."""
    queue, told, lock = iter(requests), Counter(), threading.Lock()
    slowest = [0.0]

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                request = next(queue, None)
            if request is None:
                break
            kind, path, body = request
            began = time.monotonic()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            with lock:
                told[kind, response.status] += 1
                slowest[0] = max(slowest[0], time.monotonic() - began)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began, told, slowest[0]


def check(executions, calls, requests, told):
    """Raises AssertionError if something was lost, or taken that is wrong."""
    from durable_monty import OrchestratorService
    from durable_monty.models import Call

    wanted = Counter((kind, EXPECTED[kind]) for kind, *_rest in requests)
    assert told == wanted, (told, wanted)
    found = Call.objects.filter(pk__in=[call.pk for call in calls])
    assert set(found.values_list("status", "attempt", "failures")) == {("completed", 1, 0)}
    service = OrchestratorService()
    for execution_id, output in executions.items():
        assert service.process_execution(execution_id) == "completed"
        assert service.get_result(execution_id) == output


def measure(port, *, calls, clients, seed=1):
    """Raises AssertionError as `check` does; gives the figures."""
    with registered("loaded", executor="load"):
        executions, rows = make_calls(calls)
        requests = make_requests(rows, random.Random(seed))
        seconds, told, slowest = post_all(port, requests, clients)
        check(executions, rows, requests, told)
    return {
        "calls": calls,
        "clients": clients,
        "requests": {
            f"{kind} {status}": number for (kind, status), number in sorted(told.items())
        },
        "seconds": round(seconds, 2),
        "completions_per_second": round(calls / seconds),
        "requests_per_second": round(len(requests) / seconds),
        "slowest_ms": round(slowest * 1000),
    }


@contextmanager
def registered(name, **policy):
    from durable_monty import FUNCTION_REGISTRY, register_function

    register_function(name, **policy)(lambda number: None)
    try:
        yield
    finally:
        FUNCTION_REGISTRY.remove(name)


@contextmanager
def served(folder, *options, **env):
    """The port at which uvicorn serves `create_app()` on the database of this process."""
    from tests.processes import Program

    port = free_port()
    options = ["--port", str(port), "--log-level", "warning", "--no-access-log", *options]
    command = [sys.executable, "-m", "uvicorn", "tests.webhooks.server:app", *options]
    program = Program(Path(folder) / "uvicorn.log", *command, env=env)
    try:
        program.until(lambda: listens(port), "it listens")
        yield port
    finally:
        program.end()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment():
    """Of a server on the database of this process. Its log is not what is measured."""
    from tests.processes import database_url

    return {
        "DJANGO_SETTINGS_MODULE": "tests.webhooks.server_settings",
        "DATABASE_URL": database_url(),
    }


def parser():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2, help="Processes of uvicorn.")
    return parser


def main():
    options = parser().parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.webhooks.server_settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    workers = ["--workers", str(options.workers)]
    with TemporaryDirectory() as folder, served(folder, *workers, **environment()) as port:
        print(json.dumps(measure(port, calls=options.calls, clients=options.clients), indent=2))


if __name__ == "__main__":
    main()

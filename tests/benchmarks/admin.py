"""How long the admin's pages take on large tables.

    python -m tests.benchmarks.admin --executions 1000000 --calls-of-one 20000 \
        --database-url postgres://postgres@127.0.0.1:5432/admin_benchmark

Fills the database, which must be empty or filled by this command before, and asks for each page
as a superuser: the queries of one request, median and 95th percentile of `--requests` requests
after one that warms up, and the size of the page. Django's test client is counted, a web server
and a network are not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import django


def main() -> None:
    options = parse()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    if options.database_url:
        os.environ["DATABASE_URL"] = options.database_url
    os.environ["DEBUG"] = "no"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from durable_monty.models import Execution

    call_command("migrate", verbosity=0)
    if not Execution.objects.exists():
        from tests.benchmarks.rows import fill

        began = time.perf_counter()
        fill(options.executions, options.calls_of_one)
        if connection.vendor == "postgresql":
            # As autovacuum does, which would else begin in the middle.
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
        print(f"filled in {time.perf_counter() - began:.0f} s")
    measure(options.requests)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--calls-of-one", type=int, default=20_000, metavar="N")
    parser.add_argument("--database-url", help="Default: DATABASE_URL, or SQLite.")
    parser.add_argument("--requests", type=int, default=5)
    return parser.parse_args()


def pages() -> dict[str, str]:
    """What is asked for: a name and an address."""
    from django.urls import reverse

    from durable_monty.models import Call, Execution

    def lists(model: str, *queries: str) -> dict[str, str]:
        address = reverse(f"admin:durable_monty_{model}_changelist")
        return {f"{model} {query}".rstrip(): f"{address}{query}" for query in queries}

    last_page = min(200, Execution.objects.count() // 50)
    largest = Execution.objects.get(name="large")
    some = Execution.objects.filter(status="completed").order_by("pk")[100]
    return {
        "dashboard": reverse("admin:app_list", args=["durable_monty"]),
        "dashboard, a day": reverse("admin:app_list", args=["durable_monty"]) + "?span=day",
        "dashboard, a week": reverse("admin:app_list", args=["durable_monty"]) + "?span=week",
        **lists(
            "execution",
            "",
            f"?p={last_page}",
            *(f"?status__exact={status}" for status in ("completed", "failed", "paused")),
            "?attention=stuck",
            "?attention=person",
            "?attention=failed",
            "?name=refund",
            "?name=rare",
            "?error=LookupError",
            "?error=RareError",
            "?function=approve",
            "?function=rare",
            "?created=hour",
            "?created=week&status__exact=failed",
            f"?q={some.short_id}",
            "?q=refund",
            "?q=key-5000",
            "?q=RareError",
            "?q=nothing",
        ),
        **lists(
            "call",
            "",
            f"?p={last_page}",
            "?waiting=person",
            "?waiting=worker",
            "?waiting=sleep",
            "?status__exact=failed",
            "?status__exact=cancelled",
            "?function=rare",
            "?function=encode",
            "?function=rare&status__exact=failed",
            f"?execution={largest.pk}",
            f"?q={some.short_id}",
            "?q=rare",
        ),
        **lists("snapshot", ""),
        **lists("workerprocess", ""),
        **lists("program", ""),
        "execution's page": reverse("admin:durable_monty_execution_change", args=[some.pk]),
        "execution's page, large": reverse(
            "admin:durable_monty_execution_change", args=[largest.pk]
        ),
        "call's page": reverse(
            "admin:durable_monty_call_change", args=[Call.objects.order_by("pk")[100].pk]
        ),
    }


def measure(requests: int) -> None:
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    user, _created = get_user_model().objects.get_or_create(
        username="benchmark", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    print(f"{connection.vendor}, Django {django.__version__}")
    print(f"{'queries':>7} {'median ms':>9} {'p95 ms':>8} {'bytes':>8}  page")
    for name, address in pages().items():
        with CaptureQueriesContext(connection) as queries:
            response = client.get(address)
        asked = len(queries)  # the next request clears them
        assert response.status_code == 200, (name, response.status_code)
        took = sorted(_milliseconds(client, address) for _ in range(requests))
        p95 = took[min(len(took) - 1, int(len(took) * 0.95))]
        print(
            f"{asked:>7} {statistics.median(took):>9.0f} {p95:>8.0f} "
            f"{len(response.content):>8}  {name}",
            flush=True,
        )


def _milliseconds(client, address: str) -> float:
    began = time.perf_counter()
    client.get(address)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()

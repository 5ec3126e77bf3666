"""Whether a step costs the same whatever the journal and the tables hold.

history   one execution makes 10,000 calls, one after another: the seconds of its last 1,000
          against those of its first 1,000.
sleepers  W1 drained (see `python -m tests.benchmarks --help`) with 1,000,000 executions in the
          table that sleep for a week, against W1 with an empty one, in turn."""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks.__main__ import new_parser, set_up, until_terminated
from tests.benchmarks.engines import Options
from tests.benchmarks.workloads import WORKLOADS

CHAIN = """
x = 0
for _ in range(calls):
    x = await step(x)
x
"""
SLEEP = """
from asyncio import sleep
await sleep(7 * 24 * 3600)
"""
_IDS = {
    "postgresql": "SELECT lpad(to_hex(i), 32, '0')::uuid AS id FROM generate_series(1, {}) AS i",
    "sqlite": """WITH RECURSIVE number(i) AS (
            SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < {}
        ) SELECT printf('%032x', i) AS id FROM number""",
}


def parser():
    new = new_parser("tests.benchmarks.flat", __doc__)
    new.add_argument("--only", choices=["history", "sleepers"])
    new.add_argument("--calls", type=int, default=10_000)
    new.add_argument("--sleepers", type=int, default=1_000_000)
    new.add_argument("--n", type=int, default=WORKLOADS["W1"].n)
    return new


def main():
    arguments = parser().parse_args()
    until_terminated()
    found = {}
    with tempfile.TemporaryDirectory(prefix="durable_monty_benchmark_") as folder:
        options = Options(arguments.executor, 1, arguments.database_url, Path(folder))
        set_up(options)
        if arguments.only != "sleepers":
            found["history"] = history(options, arguments)
        if arguments.only != "history":
            found["sleepers"] = sleepers(options, arguments)
    print(json.dumps(found, indent=2) if arguments.json else _text(found))


def history(options, arguments):
    from tests.benchmarks.ours import DurableMonty

    engine = DurableMonty(options, "history")
    try:
        engine.create()
        ratios = [_late_against_early(engine, arguments.calls) for _ in range(arguments.rounds)]
    finally:
        engine.drop()
    return {
        "calls": arguments.calls,
        "seconds of the last tenth against the first": round(median(ratios), 3),
        "rounds": [round(ratio, 3) for ratio in ratios],
    }


def _late_against_early(engine, count):
    from durable_monty.models import Call

    with engine.working() as tree:
        handle = engine.service.start_execution(CHAIN, ["step"], {"calls": count})
        tree.until(lambda: engine.is_finished(handle), patience=7200, interval=0.1)
    assert engine.outputs([handle]) == [count]
    calls = Call.objects.filter(execution=handle).order_by("call_id")
    began = calls[0].created_at
    ends = list(calls.values_list("finished_at", flat=True))
    tenth = count // 10
    return (ends[-1] - ends[-1 - tenth]) / (ends[tenth - 1] - began)


def sleepers(options, arguments):
    from tests.benchmarks.ours import DurableMonty

    alone, crowded = DurableMonty(options, "alone"), DurableMonty(options, "crowded")
    rates = {alone: [], crowded: []}
    try:
        for engine in rates:
            engine.create()
        _fall_asleep(crowded, arguments.sleepers)
        for _ in range(arguments.rounds):
            for engine, found in rates.items():
                found.append(_drained(engine, arguments.n))
    finally:
        for engine in rates:
            engine.drop()
    with_none, with_them = (median(found) for found in rates.values())
    return {
        "sleepers": arguments.sleepers,
        "W1 with an empty table, workflows/s": round(with_none),
        "W1 with sleepers, workflows/s": round(with_them),
        "with sleepers against empty": round(with_them / with_none, 3),
    }


def _drained(engine, n):
    workload = WORKLOADS["W1"]
    engine.use()
    with engine.working() as tree:
        engine.drain(tree, workload, max(1, n // 20))
        return workload.rate(n, engine.drain(tree, workload, n))


def _fall_asleep(engine, count):
    """One execution that has gone to sleep, and copies of its rows."""
    from django.db import connection

    from durable_monty.models import Call, Execution, Snapshot

    engine.use()
    with engine.working() as tree:
        handle = engine.service.start_execution(SLEEP, ["step"])
        tree.until(Call.objects.filter(execution=handle).exists)
    key = Execution._meta.pk.get_db_prep_value(handle, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE ids AS {_IDS[connection.vendor].format(count)}")
        for model in (Execution, Call, Snapshot):
            cursor.execute(_copying(model), [key])
        cursor.execute("DROP TABLE ids")
        Execution.objects.filter(pk=handle).delete()
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _copying(model):
    """SQL that copies the rows of an execution for all ids in the table `ids`."""
    owner = "execution_id" if model.__name__ != "Execution" else "id"
    columns = [
        field.column
        for field in model._meta.concrete_fields
        if field.column == owner or not field.primary_key
    ]
    values = ["ids.id" if column == owner else f"one.{column}" for column in columns]
    table = model._meta.db_table
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM {table} AS one, ids WHERE one.{owner} = %s"
    )


def _text(found):
    return "\n".join(
        f"{name}: " + ", ".join(f"{what} {value}" for what, value in figures.items())
        for name, figures in found.items()
    )


if __name__ == "__main__":
    sys.exit(main())

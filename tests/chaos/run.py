"""One run, from the empty database to the report."""

import math
import random
import time

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from tests.chaos.disturbances import Disturbances
from tests.chaos.load import Load
from tests.chaos.verdict import judge
from tests.chaos.workers import EngineWorker, Worker

# Seconds without a finished workflow: first it gets quiet, then the rest counts as lost.
_QUIET_AFTER = 60.0
_LOST_AFTER = 120.0
_DRAIN_PATIENCE = 40.0


def run(options, directory, clocks, cluster, engine):
    call_command("migrate", "--run-syncdb", verbosity=0)
    workers, engine_workers = [], []
    try:
        for number in range(options.workers):
            clock = clocks.get(f"worker {number}") or clocks["machine"]
            workers.append(Worker(number, options.executor, directory, clock))
        for number in range(engine.count if engine else 0):
            clock = workers[number % len(workers)].clock
            engine_workers.append(EngineWorker(engine, number, directory, clock))
        disturbances = Disturbances(
            random.Random(options.seed),
            [*workers, *engine_workers],
            settings.LEASE,
            cluster=cluster,
            engine=engine,
            clocks=clocks,
        )
        began = time.monotonic()
        load = Load()
        _disturb(options, disturbances, load)
        seconds = time.monotonic() - began
        for worker in workers:
            worker.drain(_DRAIN_PATIENCE)
        verdict = judge(load.started, settings.CHAOS_NOTES)
    finally:
        for worker in (*workers, *engine_workers):
            worker.process.end()
        connection.close()
    if orphans := sum(worker.orphans for worker in workers):
        verdict.wrong.append(f"{orphans} orphans")
    verdict.wrong += [what for worker in workers for what in worker.wrong]
    return {
        "database": connection.vendor,
        "executor": options.executor,
        "seed": options.seed,
        "seconds": round(seconds),
        "workflows": load.started,
        "runworkers begun": sum(worker.begun for worker in workers),
        "workers of the engine begun": sum(worker.begun for worker in engine_workers),
        "of these without a database": sum(worker.not_started for worker in workers),
        **verdict.figures,
        "disturbances in all": disturbances.counts.total(),
        "disturbances": dict(disturbances.counts),
        "wrong": verdict.wrong,
    }


def _disturb(options, disturbances, load):
    began = progressed_at = time.monotonic()
    finished = 0
    while True:
        now = time.monotonic()
        goes_on = now - began < options.seconds or not disturbances.all_came
        limit = math.inf if goes_on else options.workflows
        if load.started >= limit and not load.running:
            break
        load.go_on(limit)
        if load.finished != finished:
            finished, progressed_at = load.finished, now
        for worker in disturbances.workers:
            worker.revive()
        if now - progressed_at > _LOST_AFTER:
            break
        if load.started < limit and now - progressed_at < _QUIET_AFTER:
            disturbances.go_on()
        else:
            disturbances.end()  # the last ones may end in peace
        time.sleep(0.05)
    disturbances.end()

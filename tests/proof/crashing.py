"""Runs a scenario and kills itself at a write; then recovers in another process. A program:

    python -m tests.proof.crashing DIRECTORY POINTS SEED

The database of the settings is the template, copied for each point. It prints a line of JSON for
each point: what was wrong after the recovery. Every process is forked from this one, which never
uses the sandbox itself.
"""

import json
import os
import random
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import django

KILLED = 137
_WRITES = ("INSERT", "UPDATE", "DELETE", "SAVEPOINT", "RELEASE")


def main(directory, points, seed):
    django.setup()
    from tests.proof import scenario
    from tests.proof.databases import copied_database

    def attempt(point, runs_inline):
        """The exit code of a run that is killed there, how far it came, and what was wrong."""
        name = f"{'inline' if runs_inline else 'rows'}-{'none' if point is None else point}"
        place = Path(directory) / name
        place.mkdir()
        run, recover = (
            partial(action, place, runs_inline=runs_inline)
            for action in (scenario.run, scenario.recover)
        )
        with copied_database(place):
            code = forked(lambda: killed_at(point, place, run))
            forked(lambda: report(place, recover()))
        written = place / "writes"
        return {
            "point": point,
            "inline": runs_inline,
            "code": code,
            "writes": int(written.read_text()) if written.exists() else None,
            "wrong": json.loads((place / "wrong").read_text()),
        }

    for runs_inline in (False, True):
        whole = attempt(None, runs_inline)
        print(json.dumps(whole), flush=True)
        for point in chosen(2 * whole["writes"], points, seed):
            print(json.dumps(attempt(point, runs_inline)), flush=True)


def chosen(total, points, seed):
    """`points` of them, one from each of as many equal stretches; "all" of them."""
    if points == "all":
        return range(total)
    rng, length = random.Random(seed), total / int(points)
    return [
        int(number * length + rng.random() * length) for number in range(min(int(points), total))
    ]


def killed_at(point, place, run):
    """Ends the process before (even) or after (odd) a write; commits are writes too."""
    from django.db import connection

    writes = 0

    @contextmanager
    def counted():
        nonlocal writes
        if point == 2 * writes:
            os._exit(KILLED)
        yield
        if point == 2 * writes + 1:
            os._exit(KILLED)
        writes += 1

    def wrapper(execute, sql, params, many, context):
        if not sql.lstrip().upper().startswith(_WRITES):
            return execute(sql, params, many, context)
        with counted():
            return execute(sql, params, many, context)

    commit = connection._commit

    def counted_commit():
        with counted():
            return commit()

    connection._commit = counted_commit
    with connection.execute_wrapper(wrapper):
        run()
    (place / "writes").write_text(str(writes))


def report(place, wrong):
    (place / "wrong").write_text(json.dumps(wrong))


def forked(action):
    """The exit code of `action` in a process of its own."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Whether a start by name costs no more than a start of the same source.

Starts of both kinds are made in turn, in small groups, so that a busy machine slows both down. The
ratio is of the times of whole rounds; more than 1 means that the start by name is faster."""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.benchmarks.__main__ import new_parser, set_up, until_terminated
from tests.benchmarks.engines import Options

SOURCE = "await step(number + more)"
GROUP = 10


def parser():
    new = new_parser("tests.benchmarks.starts", __doc__)
    new.add_argument("--n", type=int, default=500, help="Starts of each kind in a round.")
    return new


def main():
    arguments = parser().parse_args()
    until_terminated()
    with tempfile.TemporaryDirectory(prefix="durable_monty_benchmark_") as folder:
        options = Options(arguments.executor, 1, arguments.database_url, Path(folder))
        set_up(options)
        from tests.benchmarks.ours import DurableMonty

        engine = DurableMonty(options, "starts")
        try:
            engine.create()
            found = {
                which: measure(engine.service, arguments, **given)
                for which, given in {"plain": {}, "with a key": {"keyed": True}}.items()
            }
        finally:
            engine.drop()
    print(json.dumps(found, indent=2) if arguments.json else _text(found))


def measure(service, arguments, *, keyed=False):
    from tests.benchmarks.workflows import steps

    def of_source(number):
        key = f"source {time.monotonic_ns()}" if keyed else None
        inputs = {"number": number, "more": 1}
        service.start_execution(SOURCE, ["step"], inputs, name="steps", key=key)

    def by_name(number):
        if keyed:
            steps.options(key=f"name {time.monotonic_ns()}").start(number, 1)
        else:
            service.start("steps", number, more=1)

    rounds = [_round((of_source, by_name), arguments.n) for _ in range(arguments.rounds + 1)]
    sources, names = zip(*rounds[1:], strict=True)  # the first one fills the caches
    return {
        "starts of source/s": round(arguments.n / median(sources)),
        "starts by name/s": round(arguments.n / median(names)),
        "ratio": round(median(sources) / median(names), 3),
    }


def _round(kinds, n):
    times = dict.fromkeys(kinds, 0.0)
    for first in range(0, n, GROUP):
        for start in kinds:
            begun = time.perf_counter()
            for number in range(first, min(n, first + GROUP)):
                start(number)
            times[start] += time.perf_counter() - begun
    return tuple(times.values())


def _text(found):
    return "\n".join(
        f"{which}: {', '.join(f'{value:,} {name}' for name, value in figures.items())}"
        for which, figures in found.items()
    )


if __name__ == "__main__":
    sys.exit(main())

"""What is run: the shape of a workflow matters here, its function does next to nothing.

`source` is the workflow for durable_monty, `shape` the same for peers whose workflows are async
functions: it is given their `step` and `gather`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any


def step(x):
    return x + 1


async def one(step, gather):
    return await step(1)


async def fan(step, gather):
    return sum(await gather(step(1), step(2), step(3)))


async def seven(step, gather):
    first = await gather(step(1), step(2), step(3))
    second = await gather(*[step(x) for x in first])
    return await step(sum(second))


async def chain(step, gather):
    x = 0
    for _ in range(50):
        x = await step(x)
    return x


async def wide(step, gather):
    return sum(await gather(*[step(x) for x in range(1000)]))


@dataclass(frozen=True, slots=True)
class Workload:
    """`n`: how many are measured at a time. `looks`: how often its latency is, in a round.

    Rates are of workflows, or of their calls if `counts_calls`.
    """

    name: str
    title: str
    source: str
    shape: Callable[..., Awaitable[Any]]
    calls: int
    output: int
    n: int
    looks: int
    counts_calls: bool = False

    @property
    def unit(self) -> str:
        return "steps/s" if self.counts_calls else "workflows/s"

    def rate(self, n: int, seconds: float) -> float:
        return n * (self.calls if self.counts_calls else 1) / seconds


def _source(text: str) -> str:
    return dedent(text).strip()


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "one call", "await step(1)", one, 1, 2, 1000, 20),
        Workload(
            "W2",
            "a gather of 3, and their sum",
            _source("""
                from asyncio import gather
                sum(await gather(step(1), step(2), step(3)))
            """),
            fan,
            3,
            9,
            500,
            20,
        ),
        Workload(
            "W3",
            "a gather of 3, another, one call",
            _source("""
                from asyncio import gather
                first = await gather(step(1), step(2), step(3))
                second = await gather(*[step(x) for x in first])
                await step(sum(second))
            """),
            seven,
            7,
            13,
            300,
            20,
        ),
        Workload(
            "W4",
            "50 calls, one after another",
            _source("""
                x = 0
                for _ in range(50):
                    x = await step(x)
                x
            """),
            chain,
            50,
            50,
            40,
            3,
            counts_calls=True,
        ),
        Workload(
            "W5",
            "a gather of 1,000",
            _source("""
                from asyncio import gather
                sum(await gather(*[step(x) for x in range(1000)]))
            """),
            wide,
            1000,
            500_500,
            3,
            1,
            counts_calls=True,
        ),
    )
}

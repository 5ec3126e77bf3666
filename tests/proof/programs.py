"""The workflows that are run against the oracle. CPython runs the same text there.

Each ends with an expression: its output. Every answer is a number that no other call is given.
"""

PROGRAMS = {
    "sequence": """
a = await step(x)
b = await flaky(a)
await step([a, b])
""",
    "gather": """
from asyncio import gather

async def branch(n):
    first = await step(n)
    return [first, await flaky(first)]

await gather(branch(x), ask(x), branch(x + 1))
""",
    "catching": """
try:
    out = await flaky(x)
except ValueError as e:
    out = str(e)
except TimeoutError:
    out = "late"
[out, await brisk(out)]
""",
    "cleaning": """
import asyncio

try:
    a = await step(x)
    await asyncio.sleep(30)
    b = await ask(a)
finally:
    await step("clean")
[a, b]
""",
    "first_failure": """
from asyncio import gather, sleep

try:
    out = await gather(brisk(x), ask(x), sleep(100), flaky(x))
except Exception as e:
    out = type(e).__name__
[out, await step(x)]
""",
}

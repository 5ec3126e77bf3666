"""Registers the functions of the conformance tests for the worker's own executor."""

from durable_monty import Retry, register_function
from tests.engines import functions

for function in (
    functions.total,
    functions.same,
    functions.fail_as,
    functions.jot,
    functions.wait_for,
    functions.text_of,
    functions.no_value,
    functions.time_of_end,
    functions.die,
):
    register_function(function)
register_function("succeed_at", retry=Retry(max_attempts=3, initial=0.1))(functions.succeed_at)
register_function("overrun_soon", start_to_close=1)(functions.overrun)

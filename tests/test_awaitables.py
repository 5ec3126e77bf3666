"""`awaitable`: a registered function with the type that it has in workflows."""

import asyncio
import inspect

import pytest

from durable_monty import awaitable
from durable_monty.exceptions import WrongWorkflow
from durable_monty.workflows.closure import closure_of


def charge(number, cents=100):
    return number, cents


async def load(number):
    return number


def plain(number): ...


def test_it_can_be_awaited():
    async def use():
        return await awaitable(charge)(7, cents=5), await awaitable(load)(8)

    assert asyncio.run(use()) == ((7, 5), 8)
    assert inspect.signature(awaitable(charge)) == inspect.signature(charge)


charge_call, load_call, plain_call = map(awaitable, (charge, load, plain))


async def refund(number):
    await load_call(number)
    return await charge_call(number)


async def unregistered(number):
    return await plain_call(number)


def test_in_a_workflow_it_is_the_registered_function(register):
    register("charge", charge)
    register("load", load)
    closure = closure_of(refund)
    assert closure.functions == {"charge_call": "charge", "load_call": "load"}


def test_an_unregistered_function_is_refused():
    with pytest.raises(WrongWorkflow) as refused:
        closure_of(unregistered)
    [complaint] = refused.value.complaints
    assert complaint.message == (
        "plain_call is awaitable(plain), and tests.test_awaitables.plain is not registered. "
        "Decorate it with @register_function."
    )

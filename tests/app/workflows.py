"""The functions that the tests' workflows call."""

import asyncio
import builtins
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.db import transaction

from durable_monty import NonRetryable, RetryAfter, register_function
from tests.app import careless, engines  # noqa: F401  (they register themselves)


@register_function("add")
def add(a, b):
    return a + b


@register_function("double", admin=True)
def double(x):
    return 2 * x


@register_function("echo")
def echo(*args, **kwargs):
    return [list(args), kwargs] if kwargs else (args[0] if len(args) == 1 else list(args))


@register_function("async_double")
async def async_double(x):
    return 2 * x


class OutOfStock(Exception):
    pass


@register_function("fail")
def fail(kind, message):
    raise {
        "ValueError": ValueError,
        "KeyError": KeyError,
        "OutOfStock": OutOfStock,
        "SystemExit": SystemExit,
    }[kind](message)


class StrRaises(Exception):
    def __str__(self):
        raise ValueError


class StrExits(Exception):
    def __str__(self):
        raise SystemExit(3)


class ClassRaises(Exception):
    @property
    def __class__(self):
        raise ValueError


class NotesRaise(Exception):
    @property
    def __notes__(self):
        raise ValueError


class CauseRaises(NonRetryable):
    @property
    def __cause__(self):
        raise ValueError


class HasNoName(type):
    @property
    def __name__(cls):
        raise ValueError


class Nameless(Exception, metaclass=HasNoName):
    pass


class IterRaises(list):
    def __iter__(self):
        raise LookupError("told")


def strange(kind):
    error, two = ValueError("told"), ValueError("two")
    match kind:
        case "unpicklable":
            error.lock = threading.Lock()
        case "circle":
            error.__cause__, two.__cause__ = two, error
        case "group":
            error = ExceptionGroup("told", [ValueError("one"), OSError("two")])
        case "large":
            error = ValueError("told\n" * 6_000_000)
        case "CancelledError":
            error = asyncio.CancelledError("told")
        case "RetryAfter":
            error = RetryAfter(1.7e12, "told")
        case _:
            error = (globals().get(kind) or getattr(builtins, kind))("told")
    return error


def raise_strange(kind):
    if kind == "result":
        return IterRaises([1])
    raise strange(kind)


async def raise_strange_async(kind):
    return raise_strange(kind)


register_function("raise_strange")(raise_strange)
register_function("raise_strange_async")(raise_strange_async)
register_function("raise_strange_with_row", start_to_close=60)(raise_strange)
register_function("raise_strange_in_transaction", transactional=True)(raise_strange)


@register_function("unstorable")
def unstorable():
    return {"rows": [1, object()]}


@register_function("approve", executor="manual", admin=True)
def approve(what: str) -> bool:
    raise NotImplementedError("people answer")


@register_function("note")
def note(path, text):
    """Appends a line, so that a test can count how often a call ran, across processes."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
    return text


@register_function("log")
def log(number):
    logging.getLogger("tests.app").info("packed %d", number)


@register_function("block_until")
def block_until(path, started=None):
    """Runs until a file exists."""
    if started:
        Path(started).write_text(str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.005)
    return "done"


@register_function("exit_process")
def exit_process(path):
    """Dies hard the first time."""
    if Path(path).exists():
        return "survived"
    Path(path).write_text("")
    os._exit(9)


@register_function("call_sys_exit")
def call_sys_exit():
    sys.exit(3)


# Functions that overrun django-q2's time-out.


@register_function("overrun")
def overrun():
    time.sleep(60)


@register_function("async_overrun")
async def async_overrun():
    await asyncio.sleep(60)


@register_function("overrun_in_transaction")
def overrun_in_transaction():
    with transaction.atomic():
        time.sleep(60)


@register_function("overrun_whatever_comes")
def overrun_whatever_comes():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@register_function("terminate_child")
def terminate_child():
    """Exit codes of a program and of a fork that are sent SIGTERM."""
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    fork = os.fork()
    if fork == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(fork, signal.SIGTERM)
    return [program.wait(), os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])]


@register_function("wait_in_time", start_to_close=60)
def wait_in_time(x):
    """Has a time-out, and so a row before it is run."""
    return x

"""The functions that the tests' workflows call."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from django.db import transaction

from durable_monty import register_function


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

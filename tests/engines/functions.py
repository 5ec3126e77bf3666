"""The functions of the conformance tests. They need nothing but Python: an engine's workers import
this module where there is no Django. `tests.app.engines` registers them."""

import os
import signal
import time
from pathlib import Path


def total(*numbers):
    return sum(numbers)


def same(value):
    return value


class OutOfStock(Exception):
    pass


def fail_as(kind, message):
    raise {"ValueError": ValueError, "OutOfStock": OutOfStock}[kind](message)


def succeed_at(path, attempt):
    """Fails until it is called for the `attempt`-th time."""
    jot(path, "called")
    calls = len(Path(path).read_text().splitlines())
    if calls < attempt:
        raise ConnectionError(f"call {calls}")
    return calls


def jot(path, text):
    """Appends a line, so that a test can count how often a call ran, across processes."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
    return text


def wait_for(path, started):
    """Runs until a file exists; notes its process, a line for each run."""
    jot(started, str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.01)
    return "done"


def overrun(started):
    jot(started, str(os.getpid()))
    time.sleep(30)


def text_of(size):
    return "x" * size


def no_value():
    """Returns what neither JSON nor the codec can hold."""
    return {"rows": [1, object()]}


def time_of_end(number=0):
    return time.time()


def die():
    """Ends its process, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)

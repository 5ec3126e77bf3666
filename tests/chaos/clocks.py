"""Clocks that step, forwards and back: those of real processes, by a library loaded into them.

It covers what programs read as the time of day: Python's, SQLite's and PostgreSQL's. It leaves
alone `CLOCK_MONOTONIC`, as a real step does, and the time stamps of files. It needs a C compiler.
"""

import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


def can_step():
    return shutil.which("cc") is not None


def build(directory):
    """The library, or None without a compiler."""
    if not can_step():
        return None
    library = directory / "clock.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return library


class Clock:
    """Of a machine: what runs with `environment` reads the time with so many seconds added."""

    def __init__(self, file, library):
        self.file = file
        self.environment = {}
        self.set(0.0)
        if library is not None:
            self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(file)}

    def set(self, offset):
        # In place: every process of the machine has mapped these eight bytes.
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(round(offset * 1e9).to_bytes(8, "little", signed=True))

"""The processes that a demo starts. They are `manage.py` commands and end with it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings
from django.core.management.base import CommandError

PORTS = range(8000, 8020)
HOST = "127.0.0.1"

# Seconds.
ENDS_WITHIN = 10
ANSWERS_WITHIN = 30

TAIL = 15


class Child:
    """Runs `manage.py <arguments>` during a `with` block, with its output in `log`."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log, self.name = log, arguments[0]
        self._arguments = arguments

    def __enter__(self) -> Self:
        paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "example_project.videos.demo.leash",
                    str(os.getpid()),
                    *self._arguments,
                ],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                # Ctrl-C in the terminal is for the demo, which then ends its children in order.
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except (subprocess.TimeoutExpired, KeyboardInterrupt, SystemExit):
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises CommandError if the process has ended by itself."""
        code = self._process.poll()
        if code is None:
            return
        why = f"exit code {code}" if code >= 0 else f"signal {-code}"
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL:]
        raise CommandError(
            "\n  ".join(
                [f"{self.name} ended unexpectedly ({why}). The end of {self.log}:", *lines]
            )
        )


def free_port(wanted: int | None) -> int:
    """Returns `wanted`, or by default a free one of `PORTS`; 0 is any free port.

    Raises CommandError if the port is in use.
    """
    candidates: Iterable[int] = PORTS if wanted is None else [wanted]
    for port in candidates:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            chosen: int = listener.getsockname()[1]
            return chosen
    taken = f"Port {wanted} is" if wanted is not None else f"The ports from {PORTS[0]} are"
    raise CommandError(f"{taken} in use: choose another with --port (0: any that is free).")


def await_site(site: Child, port: int) -> None:
    deadline = time.monotonic() + ANSWERS_WITHIN
    while time.monotonic() < deadline:
        site.check()
        try:
            with socket.create_connection((HOST, port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise CommandError(f"The site does not answer on port {port}: see {site.log}.")

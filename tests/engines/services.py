"""Services that run beside a test, without Django."""

import os
import re
import signal
import subprocess
import sys
import time

from tests.processes import ROOT


class ServiceProcess:
    """A module that is run as a program, and prints "listening at PORT"."""

    def __init__(self, directory, module, *arguments):
        self.log = directory / f"{module.rpartition('.')[2]}.log"
        self._command = [sys.executable, "-m", module, *arguments]
        self.port, self.process = None, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while not (found := re.search(r"listening at (\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.port = int(found[1])

    def kill(self):
        """With all processes that it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from tests.engines.conformance import SETTINGS, Engine, manage_process
from tests.processes import ROOT

SECRET = "shared with the service"


class RequestEngine(Engine):
    """A service that is asked for each call: there is no broker between, and the executor's own
    process is what may be killed."""

    # Values survive as they do there: what JSON has not is tagged.
    mode = "django"
    has_broker = False
    can_revoke = False
    _process = _directory = None

    @contextmanager
    def worker(self, directory, *, killable=False):
        if not killable:
            with super().worker(directory):
                yield
            return
        self._directory = directory
        self.start_workers()
        try:
            yield
        finally:
            self.kill_workers()

    def start_workers(self):
        if self._process is None:
            self._process = manage_process(
                self._directory,
                "runworker",
                f"--executor={self.executor}",
                DURABLE_MONTY_JSON=self.settings(),
            )
            self._process.until_ready()

    def kill_workers(self):
        if self._process is not None:
            self._process.end()
            self._process = None

    def settings(self):
        return json.dumps({**SETTINGS, "EXECUTORS": {self.executor: self.options()}})


class HttpEngine(RequestEngine):
    name = executor = "http"
    extra = "httpcore"

    def __init__(self):
        self.server = None

    def options(self):
        return {
            "base_url": f"{self.server.url}/functions",
            "allowed_hosts": [f"127.0.0.1:{self.server.port}"],
            "allow_http": True,
            "allow_private": True,
            "secret": ["the next one", SECRET],
        }

    def start(self, directory):
        self.server = ServiceProcess(directory)
        self.server.start()

    def stop(self):
        if self.server is not None:
            self.server.kill()


class ServiceProcess:
    """`http_server.py` as a process of its own, without Django."""

    def __init__(self, directory):
        self.log = directory / "service.log"
        self.port = 0
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """At the same port, if it is started again."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engines.http_server", str(self.port), SECRET],
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
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


ENGINES = [HttpEngine()]

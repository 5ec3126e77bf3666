import json
import os
import subprocess
import sys
import time
import urllib.request
from unittest import mock

from tests.engines.conformance import Engine
from tests.postgresql import free_port
from tests.processes import PATIENCE, ROOT


class ModalServer:
    """A process of `tests.engines.modal_server`, and this process's settings for it."""

    def __init__(self, directory):
        self.log = directory / "modal.log"
        self.port, self.control_port = free_port(), free_port()
        self.variables = {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self.port}",
            "MODAL_TOKEN_ID": "ak-test",
            "MODAL_TOKEN_SECRET": "as-test",
            "MODAL_CONFIG_PATH": str(directory / "modal.toml"),
        }
        self._variables = mock.patch.dict(os.environ, self.variables)
        self._process = None

    def start(self):
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.engines.modal_server"),
                    *(str(self.port), str(self.control_port)),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        deadline = time.monotonic() + PATIENCE
        while "ready" not in self.log.read_text():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self._variables.start()

    def kill(self):
        """kill -9: it loses all of its calls."""
        self._process.kill()
        self._process.wait()
        self.log.unlink()

    def stop(self):
        if self._process is None:
            return
        import modal

        modal.Client.from_env().close()  # the next server has another port
        self._process.kill()
        self._process.wait()
        self._variables.stop()

    def tell(self, method):
        """Calls a method of `Control`, and returns what it returns."""
        url = f"http://127.0.0.1:{self.control_port}/{method}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as got:
            return json.load(got)


class ModalEngine(Engine):
    """Modal keeps its containers to itself; `has_workers` is about those that a test may kill."""

    name = executor = "modal"
    mode = "result"
    extra = "modal"
    keeps_types = True
    has_workers = False

    def options(self):
        return {"app": "shop", "poll": 0.5, "functions": {"overrun_soon": "overrun"}}

    def start(self, directory):
        self.server = ModalServer(directory)
        self.server.start()

    def stop(self):
        self.server.stop()

    def reset(self):
        self.server.tell("up")
        self.server.tell("forget")
        self.server.tell("resume")

    def start_workers(self):
        self.server.tell("resume")

    def stop_workers(self):
        self.server.tell("pause")

    def stop_broker(self):
        self.server.tell("down")

    def start_broker(self):
        self.server.tell("up")

    def waiting_jobs(self):
        return self.server.tell("waiting")

    def forget_jobs(self):
        self.server.tell("forget")

    def repeat_jobs(self):
        self.server.tell("repeat")


ENGINES = [ModalEngine()]

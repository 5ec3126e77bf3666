"""npm's serverless-offline: an endpoint of the Invoke API that others wrote."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.engines.brokers import require
from tests.postgresql import free_port

_SERVICE = Path(__file__).parent / "serverless"
_PACKAGES = ("serverless@3", "serverless-offline@13")
_ENVIRONMENT = {
    "SLS_TELEMETRY_DISABLED": "1",
    "SLS_NOTIFICATIONS_MODE": "off",
    # It does not wait for the end of an event: one that fails would end the process.
    "NODE_OPTIONS": "--unhandled-rejections=warn",
}
_PATIENCE = 60


def installed():
    """The folder of the packages; they are installed once, which takes half a minute."""
    require(shutil.which("npm"), "npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "durable_monty" / "serverless"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *_PACKAGES],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                check=True,
                timeout=300,
            )
            (folder / "done").touch()
    return folder / "node_modules"


class ServerlessOffline:
    def __init__(self, directory):
        self.directory = directory / "service"
        self.port = free_port()
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        modules = installed()
        shutil.copytree(_SERVICE, self.directory)
        (self.directory / "node_modules").symlink_to(modules)
        log = self.directory / "log"
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [
                    *("node", modules / ".bin" / "serverless", "offline", "start"),
                    *("--lambdaPort", str(self.port), "--httpPort", str(free_port())),
                    *("--host", "127.0.0.1"),
                ],
                cwd=self.directory,
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while not re.search("Function names exposed", log.read_text()):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

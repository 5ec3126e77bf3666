"""Redis and RabbitMQ servers of the tests' own, which they may restart or kill."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgresql import free_port

_PATIENCE = 60
# Debian's command in the path changes to another user; this one runs as whoever calls it.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def require(found, what):
    """Skips the test without `found`; fails it in CI, where everything must be there."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")


class _Server:
    """A server process, the leader of its own process group, on a port of 127.0.0.1."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = None

    def start(self):
        log = self.directory / "log"
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self.answers():
            assert self.process.poll() is None, f"it ended: {log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"it did not start: {log.read_text()[-4000:]}"
            time.sleep(0.02)

    def stop(self):
        """Ends it in an orderly way."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(_PATIENCE)
            self.process = None

    def kill(self):
        """kill -9."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(_PATIENCE)
            self.process = None

    def restart(self):
        self.stop()
        self.start()

    def says(self, sent, expected):
        """Whether it answers these bytes with something that contains those."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(sent)
                return expected in connection.recv(1024)
        except OSError:
            return False


class RedisServer(_Server):
    """`persists`: whether its data outlives the process, also one that is killed."""

    def __init__(self, directory, *, persists=True):
        super().__init__(directory)
        self.persists = persists
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def environment(self):
        return {}

    def command(self):
        return [
            shutil.which("redis-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "yes" if self.persists else "no"),
            *("--appendfsync", "always"),
        ]

    def answers(self):
        return self.says(b"PING\r\n", b"+PONG")


class RabbitMQServer(_Server):
    """With a node name, a folder, a cookie and an epmd of its own. User and password: guest."""

    def __init__(self, directory):
        super().__init__(directory)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._distribution_port, self._epmd_port = free_port(), free_port()

    def environment(self):
        return {
            "HOME": str(self.directory),  # of the cookie
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "none"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.directory / "generated"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # A scheduler for each core would be spinning, for nothing.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def command(self):
        return [str(_RABBITMQ)]

    def answers(self):
        # It accepts connections before it is ready; the protocol's first frame is an answer.
        return self.says(b"AMQP\x00\x00\x09\x01", b"RabbitMQ")

    def end(self):
        """kill -9, of the epmd that it has started too."""
        self.kill()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and self._is_epmd(entry):
                os.kill(int(entry.name), signal.SIGKILL)

    def _is_epmd(self, entry):
        try:
            environment = (entry / "environ").read_bytes()
            program = (entry / "comm").read_text()
        except OSError:
            return False
        port = re.escape(str(self._epmd_port)).encode()
        is_its_own = re.search(rb"(^|\0)ERL_EPMD_PORT=" + port + rb"(\0|$)", environment)
        return program.startswith("epmd") and is_its_own is not None


@contextmanager
def redis_server(directory, *, persists=True):
    """A running Redis, until the end of the block."""
    require(shutil.which("redis-server"), "redis-server")
    server = RedisServer(directory, persists=persists)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def rabbitmq_server(directory):
    """A running RabbitMQ, until the end of the block."""
    require(_RABBITMQ.exists(), "rabbitmq-server")
    server = RabbitMQServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.end()

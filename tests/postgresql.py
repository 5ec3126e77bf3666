"""A PostgreSQL server that a test may kill: of its own, on a port of its own."""

import os
import random
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_DATABASE = "postgres"


def is_installed():
    return bool(_BINARIES) or shutil.which("initdb") is not None


class Cluster:
    """`environment`: variables of the server, for example those of libfaketime."""

    def __init__(self, directory, environment=None):
        self.directory = Path(directory)
        self.environment = environment or {}
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/{_DATABASE}"
        self._data = self.directory / "data"

    def create(self):
        self.directory.mkdir(parents=True)
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self.directory, "postgres")
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres", "--no-locale"
        )

    def start(self):
        where = f"-p {self.port} -h 127.0.0.1 -k {self.directory}"
        self._control("start", f"--options={where}", f"--log={self.directory / 'log'}")

    def stop(self, mode="fast"):
        """`immediate`: as if it crashed, so that it recovers when it is started again."""
        self._control("stop", f"--mode={mode}")

    def kill_backend(self, rng=random):
        """kill -9 of one session: the server ends all others too, and recovers."""
        sessions = [pid for pid in self._children() if b"127.0.0.1" in _command_line(pid)]
        if not sessions:
            return False
        os.kill(rng.choice(sessions), signal.SIGKILL)
        return True

    def _children(self):
        main = (self._data / "postmaster.pid").read_text().split()[0]
        return [int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split()]

    def _control(self, *arguments):
        self._run("pg_ctl", "--wait", "--timeout=60", *arguments)

    def _run(self, program, *arguments):
        found = _BINARIES[-1] / program if _BINARIES else shutil.which(program)
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*as_postgres, found, f"--pgdata={self._data}", *arguments],
            cwd="/",
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            # Not a pipe: the server would inherit it, and hold it open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{program} {arguments}: {self.log()}"

    def log(self):
        file = self.directory / "log"
        return file.read_text()[-4000:] if file.exists() else "(no log)"


@contextmanager
def private_cluster(directory, environment=None):
    """A running one, until the end of the block."""
    cluster = Cluster(directory, environment)
    cluster.create()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop("immediate")


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

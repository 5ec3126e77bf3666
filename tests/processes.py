"""Real worker processes for tests, on the test's own database."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from durable_monty import OrchestratorService
from durable_monty.models import Call, CallStatus, Execution, ExecutionStatus
from tests.support import SEVEN_CALLS

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30

_ROLES = {"worker": "ready for work at", "monitor": "monitoring at", "pusher": "pushing tasks at"}


class Program:
    """A program, the leader of its own session and process group."""

    def __init__(self, log, *command, env):
        self.log = log
        with log.open("ab") as stream:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.pid = self.popen.pid

    def tail(self):
        return self.log.read_text()[-6000:]

    def until(self, condition, what):
        """Waits for a condition, for as long as the process is there."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert self.popen.poll() is None, (
                f"it ended with {self.popen.returncode} before {what}:\n{self.tail()}"
            )
            assert time.monotonic() < deadline, f"not in time: {what}:\n{self.tail()}"
            time.sleep(0.01)
        return value

    def until_logged(self, text, times=1):
        self.until(lambda: self.log.read_text().count(text) >= times, f"{text!r} was logged")

    def ends(self, code, patience=PATIENCE):
        """Waits for the end, of the whole tree too, and checks the exit code."""
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.tail()}") from None
        assert self.popen.returncode == code, self.tail()
        until(lambda: not members(self.pid), "no process of it is left")

    def signal(self, number, *, group=False):
        (os.killpg if group else os.kill)(self.pid, number)

    def end(self):
        if self.popen.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait()
        for pid in members(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not members(self.pid), "no process of it is left")


class Process(Program):
    """`manage.py <command>`."""

    def __init__(self, log, *arguments, env, python=sys.executable):
        super().__init__(log, python, "manage.py", *arguments, env=env)

    def until_ready(self):
        self.until_logged("worker started")

    def pids(self, role):
        """The living processes of a role, oldest first."""
        alive = members(self.pid)
        logged = re.findall(rf"{_ROLES[role]} (\d+)", self.log.read_text())
        return [int(pid) for pid in logged if int(pid) in alive]

    def sentinel(self):
        """Its forked child; the sandbox's processes are other programs."""
        (pid,) = (
            pid for pid in members(self.pid) if stat_of(pid)[1] == self.pid and is_forked(pid)
        )
        return pid


@contextmanager
def manage(tmp_path, *arguments, settings=None, queue=None, python=sys.executable, **env):
    """Runs a command until the end of the block. `settings` is merged over DURABLE_MONTY,
    `queue` over Q_CLUSTER. `python`: that of another environment."""
    log = tmp_path / f"{arguments[0]}-{len(list(tmp_path.glob('*.log')))}.log"
    process = Process(
        log,
        *arguments,
        env={
            "DJANGO_SETTINGS_MODULE": "tests.worker_settings",
            "DATABASE_URL": database_url(),
            "DURABLE_MONTY_JSON": json.dumps({"POLL_INTERVAL": 0.02, **(settings or {})}),
            "Q_CLUSTER_JSON": json.dumps(queue or {}),
            **env,
        },
        python=python,
    )
    try:
        yield process
    finally:
        process.end()


@contextmanager
def runworker(tmp_path, *arguments, **options):
    with manage(tmp_path, "runworker", *arguments, **options) as process:
        process.until_ready()
        yield process


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
    return value


def start(x):
    return OrchestratorService().start_execution(SEVEN_CALLS, ["add", "double"], {"x": x})


def start_blocking(tmp_path, name="go"):
    """An execution whose function runs until the file is there."""
    return OrchestratorService().start_execution(
        "await block_until(path, started)",
        ["block_until"],
        {"path": str(tmp_path / name), "started": str(tmp_path / f"{name}.pid")},
    )


def running_in(tmp_path, name="go"):
    """The process in which that function runs."""
    file = tmp_path / f"{name}.pid"
    return int(until(lambda: file.exists() and file.read_text(), f"{name} was started"))


def completed(execution_id):
    return Execution.objects.filter(pk=execution_id, status=ExecutionStatus.COMPLETED).exists()


def attempts(execution_id):
    return list(
        Call.objects.filter(execution=execution_id, status=CallStatus.COMPLETED)
        .order_by("pk")
        .values_list("attempt", flat=True)
    )


def result(execution_id):
    return OrchestratorService().get_result(execution_id)


def database_url():
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{Path(settings['NAME']).resolve()}"
    user = quote(settings["USER"])
    if settings["PASSWORD"]:
        user += f":{quote(settings['PASSWORD'])}"
    host = quote(settings["HOST"], safe="")
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    scheme = {"postgresql": "postgres"}.get(connection.vendor, connection.vendor)
    return f"{scheme}://{user}{'@' if user else ''}{host}{port}/{settings['NAME']}"


def members(session):
    """The living processes of a session (zombies are dead)."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := stat_of(int(entry.name))):
            state, _parent, of = stat
            if of == session and state != "Z":
                found.add(int(entry.name))
    return found


def alive(pid):
    stat = stat_of(pid)
    return stat is not None and stat[0] != "Z"


def stat_of(pid):
    """(state, parent, session); None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, _group, session, *_rest = text.rpartition(")")[2].split()
    return state, int(parent), int(session)


def is_forked(pid):
    """Whether it is one of ours, and not a sandbox, which is another program."""
    try:
        return b"manage.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False

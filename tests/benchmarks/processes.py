"""The processes that are measured, and what they hold."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


class WorkerFailed(Exception):
    """A worker ended, or was not ready in time: what it wrote."""


class Tree:
    """Worker processes, each with all that it starts. They read lines, and answer with lines that
    begin with "answer:"."""

    def __init__(self, command, count, environment, ready, folder):
        self._answers = [0] * count
        self.logs = [folder / f"worker-{number}.log" for number in range(count)]
        self._popen = []
        self._frozen = []
        for log in self.logs:
            with log.open("wb") as stream:
                self._popen.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                        stdin=subprocess.PIPE,
                        stdout=stream,
                        stderr=stream,
                        start_new_session=True,
                    )
                )
        try:
            self.until(lambda: all(ready in log.read_text() for log in self.logs), PATIENCE)
        except BaseException:
            self.kill()
            raise

    def until(self, condition, patience=600.0, interval=0.01):
        """Waits for a condition and gives how often it looked. Raises `WorkerFailed`."""
        deadline, looks = time.monotonic() + patience, 1
        while not condition():
            if any(process.poll() is not None for process in self._popen):
                raise WorkerFailed(f"A worker ended.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise WorkerFailed(f"Not in {patience:.0f} seconds.\n{self.tail()}")
            time.sleep(interval)
            looks += 1
        return looks

    def ask(self, questions):
        """One line for each process; their answers."""
        for process, question in zip(self._popen, questions, strict=True):
            process.stdin.write(f"{json.dumps(question)}\n".encode())
            process.stdin.flush()
        answers = []
        for number, log in enumerate(self.logs):
            self.until(lambda at=number, log=log: len(_answers(log)) > self._answers[at])
            answers.append(json.loads(_answers(log)[self._answers[number]]))
            self._answers[number] += 1
        return answers

    def stop(self):
        """Freezes them."""
        self._frozen = self.pids()
        for pid in self._frozen:
            _signal(pid, signal.SIGSTOP)

    def go(self):
        # Children first: no parent finds a child that does not move.
        for pid in reversed(self._frozen):
            _signal(pid, signal.SIGCONT)

    def end(self):
        self.go()
        for process in self._popen:
            process.terminate()
        try:
            for process in self._popen:
                process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise WorkerFailed(f"It did not end.\n{self.tail()}") from None
        finally:
            self.kill()

    def kill(self):
        for pid in self.pids():
            _signal(pid, signal.SIGKILL)
        for process in self._popen:
            process.stdin.close()
            process.wait()

    def pids(self):
        sessions = {process.pid for process in self._popen}
        return sorted(pid for pid, session in _sessions() if session in sessions)

    def tail(self):
        return "\n".join(log.read_text()[-3000:] for log in self.logs)


class PeakMemory:
    """The most that a tree held while the block ran, in bytes; None where the system does not
    tell. Pages that processes share count once (proportional set size)."""

    def __init__(self, tree):
        self.tree = tree
        self.peak = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._look()
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.2):
            self._look()

    def _look(self):
        held = sum(_proportional(pid) for pid in self.tree.pids())
        self.peak = max(held, self.peak or 0) or None


def _answers(log):
    lines = log.read_text().split("\n")[:-1]
    return [line.removeprefix("answer:") for line in lines if line.startswith("answer:")]


def _signal(pid, number):
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _sessions():
    """(pid, session) of each living process."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            state, _parent, _group, session = (
                (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            yield int(entry.name), int(session)


def _proportional(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

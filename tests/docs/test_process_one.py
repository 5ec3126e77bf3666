"""How to operate says: a worker works as process 1 too, as in a container without an init."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import runworker

NAMESPACE = "unshare --user --map-root-user --pid --fork --kill-child"


def is_allowed():
    try:
        done = subprocess.run([*NAMESPACE.split(), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not is_allowed(), reason="this machine makes no namespaces")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("executor", ["local", "django_q"])
def test_a_worker_that_is_process_1_drains_on_sigterm(tmp_path, executor):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {NAMESPACE} {sys.executable} "$@"\n')
    python.chmod(0o755)
    with runworker(tmp_path, f"--executor={executor}", python=str(python)) as process:
        assert ", pid 1: " in process.log.read_text()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        process.ends(0)
    assert "worker stopped" in process.log.read_text()

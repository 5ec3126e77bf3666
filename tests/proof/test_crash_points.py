"""Every statement that writes is a point where the process can be killed: whichever it is, another
process finds the rest of the work, and does it once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests.processes import database_url
from tests.proof.crashing import KILLED
from tests.proof.databases import drop, make_template, renamed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def template(tmp_path, transactional_db):
    name = make_template(tmp_path)
    yield name
    if connection.vendor != "sqlite":
        drop(name)


def test_killed_at_every_write(proof, tmp_path, template):
    # Copying a database takes longer where it is not a file.
    few = "12" if connection.vendor == "sqlite" else "4"
    points = proof.pick(quick=few, long="all")
    with renamed(template):
        url = database_url()
    run = subprocess.run(
        [sys.executable, "-m", "tests.proof.crashing", tmp_path, points, str(proof.seed)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.proof.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    for inline in (False, True):
        whole, *killed = [report for report in reports if report["inline"] is inline]
        assert (whole["code"], whole["wrong"]) == (0, {})
        assert whole["writes"] > 50
        assert len(killed) == (2 * whole["writes"] if points == "all" else int(points))
        for at in killed:
            assert (at["code"], at["wrong"]) == (KILLED, {}), at

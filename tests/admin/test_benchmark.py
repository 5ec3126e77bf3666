"""The command that measures the pages runs; what it measures is for people to judge."""

import os
import re
import subprocess
import sys

from tests.documents import ROOT


def test_the_benchmark_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.admin", "--executions", "300",
         "--calls-of-one", "5", "--requests", "1",
         "--database-url", f"sqlite:///{tmp_path}/rows.sqlite3"],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^ +(\d+) +\d+ +\d+ +\d+  (.+)$", done.stdout, re.MULTILINE)
    queries = {page: int(count) for count, page in lines}
    assert {"dashboard", "execution", "call ?waiting=person", "call's page"} <= queries.keys()
    assert all(
        count < 10 for page, count in queries.items() if page.startswith(("execution ", "call "))
    )

"""A PgBouncer of the test's own, in front of the test's PostgreSQL, in transaction mode."""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import psycopg
from django.db import connection

from tests.postgresql import free_port
from tests.processes import until


def is_installed():
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is not None


@contextmanager
def pgbouncer(directory, *, servers):
    """Its port, until the end of the block. `servers`: how many connections its clients share."""
    port, settings = free_port(), connection.settings_dict
    directory.mkdir()
    password = f" password={settings['PASSWORD']}" if settings["PASSWORD"] else ""
    where = f"host={settings['HOST'] or '127.0.0.1'} port={settings['PORT'] or 5432}{password}"
    (directory / "users").write_text(f'"{settings["USER"]}" "{settings["PASSWORD"]}"\n')
    (directory / "config").write_text(
        f"[databases]\n* = {where}\n"
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\nauth_type = trust\n"
        f"listen_port = {port}\nauth_file = {directory / 'users'}\npool_mode = transaction\n"
        f"default_pool_size = {servers}\nmax_client_conn = 500\n"
    )
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    as_postgres = []
    if os.geteuid() == 0:  # it refuses to run as root
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for parent in (directory, *directory.parents):
            if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
                parent.chmod(0o711)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_postgres, program, str(directory / "config")],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: process.poll() is not None or _answers(port, settings), "it answers")
        assert process.poll() is None, (directory / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _answers(port, settings):
    try:
        psycopg.connect(
            host="127.0.0.1", port=port, user=settings["USER"], dbname=settings["NAME"]
        ).close()
    except psycopg.OperationalError:
        time.sleep(0.05)
        return False
    return True

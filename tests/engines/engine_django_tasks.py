import json
import os
import uuid
from contextlib import contextmanager

import pytest
from django.db import connection

from tests.engines.conformance import Engine, manage_process

_TABLE = "django_tasks_database_dbtaskresult"
_SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.engines.tasks_settings"}


class DjangoTasksEngine(Engine):
    """Two workers of django-tasks-db, on the test's database. This process has not its app: the
    worker that advances workflows is a process too."""

    name = executor = "django_tasks"
    extra = "django_tasks_db"
    can_revoke = False
    may_lack_functions = False  # the test would register one in this process

    def __init__(self):
        self._workers = []

    def start(self, directory):
        self._directory = directory
        self._manage("migrate", "django_tasks_database", "--verbosity=0").ends(0)
        self.start_workers()

    def stop(self):
        self.kill_workers()

    def reset(self):
        # A worker whose task is gone when it ends it dies of that.
        self._execute(f"DELETE FROM {_TABLE} WHERE status <> 'RUNNING'")
        self.start_workers()

    def start_workers(self):
        self._workers = [each for each in self._workers if each.popen.poll() is None]
        while len(self._workers) < 2:
            options = ("--interval=0.05", "--no-startup-delay", "--no-reload")
            self._workers.append(self._manage("db_worker", *options))
        for worker in self._workers:
            worker.until_logged("Starting worker")

    def stop_workers(self):
        self.kill_workers()

    def kill_workers(self):
        for worker in self._workers:
            worker.end()
        self._workers = []

    @contextmanager
    def worker(self, directory, *, killable=False):
        process = self._manage("runworker", "--executor=django_tasks")
        try:
            process.until_ready()
            yield
            process.popen.terminate()
            process.ends(0)
        finally:
            process.end()

    def stop_broker(self):
        pytest.skip("its broker is the database")

    def waiting_jobs(self):
        return [row[0] for row in self._execute(f"SELECT id FROM {_TABLE} WHERE status = 'READY'")]

    def forget_jobs(self):
        self._execute(f"DELETE FROM {_TABLE} WHERE status = 'READY'")

    def repeat_jobs(self):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {_TABLE} WHERE status = 'READY'")
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                values = {**dict(zip(names, row, strict=True)), "id": uuid.uuid4().hex}
                values = {
                    name: json.dumps(value) if isinstance(value, dict | list) else value
                    for name, value in values.items()
                }
                marks = ", ".join(["%s"] * len(values))
                cursor.execute(
                    f"INSERT INTO {_TABLE} ({', '.join(values)}) VALUES ({marks})",
                    list(values.values()),
                )

    def _manage(self, *arguments):
        return manage_process(self._directory, *arguments, **_SETTINGS)

    def _execute(self, sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


# It starts two programs for each test: in CI.
ENGINES = [DjangoTasksEngine()] if os.environ.get("CI") else []

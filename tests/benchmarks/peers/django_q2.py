"""django-q2 as it comes, on its broker for Django's database: a queue of single tasks, so W1 only.

Two processes, and settings for small tasks: `bulk` takes ten at a time, results are all kept.
"""

from django.core.management import call_command
from django.db import connections

from tests.benchmarks import databases
from tests.benchmarks.engines import QueueEngine


class Peer(QueueEngine):
    name = "django_q2"
    workloads = frozenset({"W1"})
    distributions = ("django-q2",)
    ready = ""  # it says nothing at this log level; the first drain waits for it

    def __init__(self, options):
        super().__init__(options)
        self.database = self._database(options)

    @classmethod
    def settings(cls, options):
        return {"BENCHMARK_PEER_URL": cls._database(options).url}

    def create(self):
        self.disconnect()
        self.database.create()
        call_command("migrate", "django_q", database="peer", verbosity=0)

    def drop(self):
        self.disconnect()
        super().drop()

    def command(self):
        return ["manage.py", "qcluster"]

    def environment(self):
        return {"DATABASE_URL": self.database.url}

    def submit(self, workload, n):
        from django_q.tasks import async_task

        return [async_task("tests.benchmarks.workloads.step", 1) for _ in range(n)]

    def is_idle(self):
        from django_q.models import OrmQ

        return not OrmQ.objects.using("peer").exists()

    def is_finished(self, handle):
        from django_q.models import Task

        return Task.objects.using("peer").filter(pk=handle).exists()

    def outputs(self, handles):
        from django_q.models import Task

        tasks = Task.objects.using("peer").in_bulk(handles)
        return [tasks[handle].result for handle in handles]

    def disconnect(self):
        connections["peer"].close()

    @classmethod
    def _database(cls, options):
        return databases.own_database(options.database_url, cls.name, options.folder)

from uuid import UUID

from django.core.management import call_command
from django.db import connection, connections

from durable_monty import OrchestratorService, codec
from durable_monty.models import Execution
from durable_monty.models.execution import UNFINISHED
from tests.benchmarks.databases import own_database
from tests.benchmarks.engines import QueueEngine

# Those that `flat` makes have ids up to it, real ones begin with their time.
LAST_SLEEPER = UUID(int=1 << 64)
_IS_FINISHED = (
    f"SELECT 1 FROM {Execution._meta.db_table} WHERE id = %s AND finished_at IS NOT NULL LIMIT 1"
)
_AWAKE = (
    f"SELECT 1 FROM {Execution._meta.db_table} "
    f"WHERE status IN ({', '.join(f'{status.value!r}' for status in UNFINISHED)}) AND id > %s "
    "LIMIT 1"
)


class DurableMonty(QueueEngine):
    name = "durable_monty"
    distributions = ("django", "pydantic-monty")
    ready = "worker started"

    def __init__(self, options, suffix=name):
        super().__init__(options)
        self.database = own_database(options.database_url, suffix, options.folder)
        self.service = OrchestratorService()

    def use(self):
        """Makes its database the one of this process."""
        self.disconnect()
        connections["default"].settings_dict["NAME"] = self.database.name

    def create(self):
        self.use()
        self.database.create()
        call_command("migrate", verbosity=0)

    def drop(self):
        self.disconnect()
        super().drop()

    def command(self):
        return ["manage.py", "runworker", "--executor", self.options.executor]

    def environment(self):
        return {"DATABASE_URL": self.database.url, "BENCHMARK_PEER_URL": ""}

    def submit(self, workload, n):
        return [self.service.start_execution(workload.source, ["step"]) for _ in range(n)]

    def is_idle(self):
        return not _ask(_AWAKE, LAST_SLEEPER)

    def is_finished(self, handle):
        return _ask(_IS_FINISHED, handle)

    def outputs(self, handles):
        found = dict(Execution.objects.filter(pk__in=handles).values_list("pk", "output"))
        outputs = {str(pk): output for pk, output in found.items()}
        return [codec.decode(outputs[handle]) if outputs[handle] else None for handle in handles]

    def disconnect(self):
        connections.close_all()


def _ask(query, key):
    """Past the ORM, which would take a part of a core from what is measured."""
    with connection.cursor() as cursor:
        cursor.execute(query, [Execution._meta.pk.get_db_prep_value(key, connection)])
        return cursor.fetchone() is not None

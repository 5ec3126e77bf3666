"""Every page of ours. A new one joins here, and so the tests of policy, colours and access."""

from datetime import timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from durable_monty import operations
from durable_monty.models import Call, Execution, Program, Snapshot, WorkerProcess
from tests.admin.pages import list_url, url_of
from tests.support import advance, run

DASHBOARD = "/admin/durable_monty/"
MODELS = (Execution, Call, Snapshot, WorkerProcess, Program)
_BOTH = """
import asyncio
print("it begins")
await asyncio.gather(approve("the <b>budget</b>"), double(2), asyncio.sleep(60))
"""


def fill(service):
    """An execution in each state, and workers alive, silent and stopped."""
    states = {
        "completed": run("print('hello')\nawait add(1, 2)", ["add"], name="report").pk,
        "failed": run("await fail('ValueError', 'it broke')", ["fail"], name="report").pk,
        "scheduled": service.start_execution("1", [], name="later"),
    }
    for state in ("waiting", "paused", "cancelled"):
        states[state] = service.start_execution(_BOTH, ["approve", "double"], name="review")
        advance(states[state])
    service.pause_execution(states["paused"], "over the holidays")
    service.terminate_execution(states["cancelled"], "not needed any more")
    for functions in (["double", "add"], [], []):
        worker = operations.register_worker("local", functions, using="default")
    operations.retire_worker(worker, using="default")
    minute_ago = timezone.now() - timedelta(minutes=1)
    WorkerProcess.objects.filter(pk=worker - 1).update(heartbeat_at=minute_ago)
    return states


def addresses():
    """Of the pages that show what `fill` has stored: one row of each kind."""
    yield from (DASHBOARD, f"{DASHBOARD}?span=week")
    for model in MODELS:
        yield list_url(model)
        kinds = {getattr(row, "status", ""): row for row in model.objects.all()}
        yield from map(url_of, kinds.values())
    yield from (list_url(Execution, f"?attention={name}") for name in ("stuck", "person"))
    yield from (list_url(Call, "?waiting=person"), list_url(Execution, "?q=nothing"))


def forms(states):
    """Of the pages from which something is done, which a permission to view does not open."""
    yield reverse("admin:durable_monty_execution_add")
    yield url_of(Execution.objects.get(pk=states["completed"]), "fork") + "?turn=1"
    for action in ("cancel", "terminate", "pause"):
        yield url_of(Execution.objects.get(pk=states["waiting"]), action)


def log_in(page, user, origin):
    client = Client()
    client.force_login(user)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": origin}
    page.context.add_cookies([cookie])

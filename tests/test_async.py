"""The async twins: they go on beside each other, and keep no connections."""

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import OperationalError, connection, connections
from django.http import JsonResponse
from django.urls import path

from durable_monty import LocalExecutor, OrchestratorService, Worker
from durable_monty.exceptions import ExecutionNotCompleted, WaitTimeout
from tests.processes import until
from tests.support import run

pytestmark = pytest.mark.django_db(transaction=True)

postgresql_only = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="it counts sessions in pg_stat_activity"
)


def test_waiting_lets_others_go_on(service):
    execution = run("await approve(1)", ["approve"])

    async def answer():
        await service.acomplete_call(execution.pk, 0, "yes")
        await service.aprocess_execution(execution.pk)

    async def both():
        return await asyncio.gather(service.await_(execution.pk, timeout=30), answer())

    assert async_to_sync(both)() == ["yes", None]


def test_waiting_ends(service):
    waiting = run("await approve(1)", ["approve"])
    with pytest.raises(WaitTimeout) as raised:
        async_to_sync(service.await_)(waiting.pk, timeout=0.02)
    assert str(raised.value) == str(WaitTimeout(waiting.pk, "waiting", 0.02))
    failed = run("1 / 0")
    with pytest.raises(ExecutionNotCompleted):
        async_to_sync(service.await_)(failed.pk)
    with pytest.raises(WaitTimeout):
        service.wait(waiting.pk, timeout=0)


async def view(request):
    service = OrchestratorService()
    execution_id = await service.astart_execution("await double(21)", ["double"])
    output = await service.await_(execution_id, timeout=60)
    return JsonResponse({"output": output})


urlpatterns = [path("", view)]


async def get():
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    server = ApplicationCommunicator(ASGIHandler(), scope)
    await server.send_input({"type": "http.request", "body": b""})
    start = await server.receive_output(60)
    body = await server.receive_output(60)
    await server.wait(60)
    return start["status"], body["body"]


def sessions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0]


@postgresql_only
def test_fifty_requests_at_once_leave_no_connection(service, settings, monkeypatch):
    # As Django advises under ASGI, where each request has a thread of its own.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, []
    settings.ALLOWED_HOSTS = ["*"]
    worker = Worker(service, LocalExecutor(2))
    thread = threading.Thread(target=lambda: (worker.run(), connection.close()))
    thread.start()

    async def all_at_once():
        return await asyncio.gather(*[get() for _ in range(50)])

    try:
        assert asyncio.run(all_at_once()) == [(200, b'{"output": 42}')] * 50
    finally:
        worker.stop()
        thread.join(30)
    until(lambda: sessions() == 0, "all connections are closed")


@postgresql_only
def test_a_script_uses_one_connection_and_gets_over_its_loss(service):
    execution = run("1")

    def elsewhere(look, *args):
        """In a thread of its own, which gives its connection back."""
        try:
            return look(*args)
        finally:
            connection.close()

    async def script():
        await sync_to_async(connections.close_all)()
        before = await asyncio.to_thread(elsewhere, sessions)
        await asyncio.gather(*[service.apoll(execution.pk) for _ in range(50)])
        during = await asyncio.to_thread(elsewhere, sessions)
        pid = await sync_to_async(lambda: connection.connection.info.backend_pid)()
        await asyncio.to_thread(elsewhere, terminate, pid)
        with pytest.raises(OperationalError):
            await service.apoll(execution.pk)
        status = (await service.apoll(execution.pk))["status"]
        await sync_to_async(connections.close_all)()
        return during - before, status

    assert asyncio.run(script()) == (1, "completed")


def terminate(pid):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

"""A real ASGI server in a thread, on the test's own database."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

from django.core.asgi import get_asgi_application
from django.db import connections
from django.db.backends.signals import connection_created

from tests.support import work


@contextmanager
def serve(app=None):
    """Yields the server's URL."""
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app or get_asgi_application(), lifespan="off", log_config=None, ws="none", loop="asyncio"
    )
    server = uvicorn.Server(config)

    def run():
        asyncio.run(server.serve([listening]))
        connections.close_all()

    # Under ASGI each request has a thread, so persistent connections would be left behind.
    databases = [connections.settings[alias] for alias in connections]
    kept = [database["CONN_MAX_AGE"] for database in databases]
    for database in databases:
        database["CONN_MAX_AGE"] = 0
    thread = threading.Thread(target=run, name="live-server")
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        listening.close()
        for database, age in zip(databases, kept, strict=True):
            database["CONN_MAX_AGE"] = age
        assert not thread.is_alive()


@contextmanager
def statements_elsewhere():
    """Yields what other threads ask the database, on connections that they open from now on, as
    `[(thread, sql)]`."""
    here, statements = threading.current_thread(), []

    def note(execute, sql, params, many, context):
        statements.append((threading.current_thread().name, sql))
        return execute(sql, params, many, context)

    def watch(connection, **_):
        if threading.current_thread() is not here and note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    connection_created.connect(watch)
    try:
        yield statements
    finally:
        connection_created.disconnect(watch)


@contextmanager
def working():
    """A worker in a thread."""
    stopped = threading.Event()

    def run():
        while not stopped.wait(0.02):
            work()
        connections.close_all()

    thread = threading.Thread(target=run, name="live-worker")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(20)

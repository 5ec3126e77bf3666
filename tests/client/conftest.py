import asyncio
import inspect
import threading

import pytest

from durable_monty import operations
from durable_monty.client import AsyncClient, Client
from durable_monty.models import KeyScope
from tests.live import serve


@pytest.fixture
def server(monkeypatch, settings):
    from durable_monty.api import hub

    settings.ROOT_URLCONF = "tests.api.urls"
    monkeypatch.setattr(hub, "LINGER", 0.05)
    with serve() as url:
        yield f"{url}/api"


class InLoop:
    """An `AsyncClient` in a loop of its own, used as a `Client` is."""

    def __init__(self, *args, **options):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._run(self._made(args, options))

    async def _made(self, args, options):
        return AsyncClient(*args, **options)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **options):
            made = method(*args, **options)
            return self._run(made) if inspect.isawaitable(made) else self._iterate(made)

        return call

    def _iterate(self, found):
        async def following():
            return await anext(found, self)

        while (each := self._run(following())) is not self:
            yield each

    def close(self):
        self._run(
            self._client.aclose() if hasattr(self._client, "aclose") else self._client.close()
        )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(params=[Client, InLoop], ids=["sync", "async"])
def connect(request):
    """Makes clients, each of the one kind and of the other."""
    made = []

    def make(*args, **options):
        made.append(request.param(*args, **{"trust_env": False, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(server, connect, admin_user):
    _key, secret = operations.make_api_key("test", KeyScope, user=admin_user, using="default")
    return connect(server, secret)

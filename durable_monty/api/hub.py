"""Looks at executions for all who follow them: one hub for each database and event loop.

However many listeners there are, the hub has one thread with one connection, and asks once for
all of them: when it hears that something was committed, and else at intervals.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from django.db import Error, connections

from durable_monty import conf
from durable_monty.api.snapshots import Snapshot, Topic, read_news
from durable_monty.api.states import Version
from durable_monty.wakeups import LISTENING_POLL_FACTOR, Listener

logger = logging.getLogger("durable_monty")

# Seconds that a hub keeps what nobody follows any more.
LINGER = 5.0
# Seconds between looks at whether a listener still may see what it sees.
RECHECK = 30.0
_SLOWEST = 5.0  # seconds between looks while the database is out of reach


class Watched:
    """A topic and its last snapshot."""

    def __init__(self, now: float) -> None:
        self.listeners, self.left_at = 0, now
        self.snapshot: Snapshot | None = None
        self._changed = asyncio.Event()

    def take(self, snapshot: Snapshot) -> bool:
        """Keeps what was seen, and gives whether it is new."""
        is_new = self.snapshot is None or self.snapshot.id != snapshot.id
        self.snapshot = snapshot
        if is_new:
            self.wake()
        return is_new

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Returns whether there is something to see, at the latest after so many seconds."""
        return await _set_within(self._changed, seconds)


class Permit:
    """A listener's leave to listen, which all with the same credential share."""

    def __init__(self, is_allowed: Callable[[], bool]) -> None:
        self.is_allowed, self.listeners, self.is_revoked = is_allowed, 0, False


class Hub:
    def __init__(self, using: str) -> None:
        self.using = using
        self.topics: dict[Topic, Watched] = {}
        self.permits: dict[Hashable, Permit] = {}
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        # A thread of its own: a request's would end, or be busy, with that request.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="durable_monty-hub")
        self._task = asyncio.create_task(self._run(), name="durable_monty-hub")

    async def look(self, topic: Topic) -> Snapshot:
        """The last snapshot of a topic, which is not older than the hub's last look."""
        watched = self._watched(topic)
        while watched.snapshot is None:
            await watched.wait(_SLOWEST)
        return watched.snapshot

    @asynccontextmanager
    async def listen(self, topic: Topic) -> AsyncIterator[Watched]:
        """Keeps a topic followed."""
        watched = self._watched(topic)
        watched.listeners += 1
        try:
            yield watched
        finally:
            watched.listeners -= 1
            watched.left_at = self._loop.time()

    @asynccontextmanager
    async def permitted(
        self, credential: Hashable, is_allowed: Callable[[], bool]
    ) -> AsyncIterator[Permit]:
        """Has `is_allowed` asked again, once for all listeners of a credential, in the hub's
        thread. When it says no, their permit is revoked and they are woken."""
        permit = self.permits.get(credential)
        if permit is None or permit.is_revoked:  # it may have been given leave again
            permit = self.permits[credential] = Permit(is_allowed)
        permit.listeners += 1
        try:
            yield permit
        finally:
            permit.listeners -= 1
            if not permit.listeners and self.permits.get(credential) is permit:
                del self.permits[credential]

    def _watched(self, topic: Topic) -> Watched:
        watched = self.topics.get(topic)
        if watched is None:
            watched = self.topics[topic] = Watched(self._loop.time())
            self._woken.set()
        return watched

    async def _run(self) -> None:
        listener = Listener(self.using, self._hear)
        try:
            await self._follow()
        finally:
            # In one step with the last look at the topics: who comes now gets another hub.
            _forget(self._loop, self)
            self._thread.submit(_end, listener)
            self._thread.shutdown(wait=False)

    async def _follow(self) -> None:
        shortest = conf.current().POLL_INTERVAL
        pause, checked_at = shortest, self._loop.time()
        while self.topics:
            slowest = shortest * LISTENING_POLL_FACTOR
            try:
                is_new = await self._look()
                if self._loop.time() - checked_at > RECHECK:
                    checked_at = self._loop.time()
                    await self._check_permits()
            except Error as exc:
                logger.warning("events wait for the database: %s", exc, extra={"reason": str(exc)})
                is_new, slowest = False, _SLOWEST
            except Exception as exc:
                logger.exception("events failed: %s", exc, extra={"reason": str(exc)})
                is_new, slowest = False, _SLOWEST
            # What follows an answer comes soon after it: the next turn, the end.
            pause = shortest if is_new else min(2 * pause, slowest)
            await asyncio.sleep(shortest)
            await self._pause(pause - shortest)
            self._drop_left()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await _set_within(self._woken, seconds)
        self._woken.clear()

    def _hear(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def _look(self) -> bool:
        known = {
            topic: watched.snapshot.version if watched.snapshot else None
            for topic, watched in self.topics.items()
            if watched.snapshot is None or not watched.snapshot.is_final
        }
        if not known:
            return False
        seen = await self._loop.run_in_executor(self._thread, self._read, known)
        news = [self.topics[topic].take(snapshot) for topic, snapshot in seen.items()]
        return any(news)

    async def _check_permits(self) -> None:
        for permit in list(self.permits.values()):
            if not await self._loop.run_in_executor(self._thread, permit.is_allowed):
                permit.is_revoked = True
        if any(permit.is_revoked for permit in self.permits.values()):
            for watched in self.topics.values():
                watched.wake()

    def _drop_left(self) -> None:
        now = self._loop.time()
        for topic, watched in list(self.topics.items()):
            if not watched.listeners and now - watched.left_at > LINGER:
                del self.topics[topic]

    def _read(self, known: Mapping[Topic, Version | None]) -> dict[Topic, Snapshot]:
        """In the hub's thread."""
        try:
            return read_news(known, self.using)
        except Error:
            connections[self.using].close_if_unusable_or_obsolete()
            raise


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hub]] = WeakKeyDictionary()


def hub_of(using: str) -> Hub:
    """The hub of a database in the running event loop; listen to it before you await something
    else. It ends by itself, some seconds after its last listener."""
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if using not in hubs:
        hubs[using] = Hub(using)
    return hubs[using]


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _forget(loop: asyncio.AbstractEventLoop, hub: Hub) -> None:
    hubs = _hubs.get(loop, {})
    if hubs.get(hub.using) is hub:
        del hubs[hub.using]


def _end(listener: Listener) -> None:
    listener.stop()
    connections.close_all()

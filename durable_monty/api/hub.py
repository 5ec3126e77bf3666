"""Polls executions for all who follow them, with one hub for each database and event loop.

However many listeners there are, the hub has one thread with one connection, and polls once for
all of them: when it is notified of a commit, and at intervals.
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
from durable_monty.api.snapshots import Snapshot, Topic, Version, read_snapshots
from durable_monty.wakeups import LISTENING_POLL_FACTOR, Listener

logger = logging.getLogger("durable_monty")

# Seconds that a hub keeps what nobody follows any more, for listeners that reconnect.
LINGER = 5.0
# Seconds between checks whether a listener still has permission.
RECHECK = 30.0
_LONGEST_PAUSE = 5.0  # seconds between polls while the database is out of reach


class Watched:
    """Holds a topic's last snapshot, and wakes those who wait for the next."""

    def __init__(self, now: float) -> None:
        self.listeners, self.left_at = 0, now
        self.snapshot: Snapshot | None = None
        self._changed = asyncio.Event()

    def take(self, snapshot: Snapshot) -> bool:
        """Keeps a snapshot. Returns whether it is new."""
        is_new = self.snapshot is None or self.snapshot.id != snapshot.id
        self.snapshot = snapshot
        if is_new:
            self.wake()
        return is_new

    def wake(self) -> None:
        # Every waiting listener sees this event set. Later ones wait for a new event.
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Waits up to `seconds` for a change. Returns whether there was one."""
        return await _is_set_within(self._changed, seconds)


class Permit:
    """Says whether a credential may still listen. All its listeners share it."""

    def __init__(self, is_allowed: Callable[[], bool]) -> None:
        self.is_allowed, self.listeners, self.is_revoked = is_allowed, 0, False


class Hub:
    """Polls the topics that are followed in one database. Ends some time after the last left."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.topics: dict[Topic, Watched] = {}
        self.permits: dict[Hashable, Permit] = {}
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        # The thread of a request would end, or be busy, with that request.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="durable_monty-hub")
        self._task = asyncio.create_task(self._run(), name="durable_monty-hub")

    async def latest(self, topic: Topic) -> Snapshot:
        """Returns the last snapshot of a topic. It is not older than the hub's last poll."""
        watched = self._watched(topic)
        while watched.snapshot is None:
            await watched.wait(_LONGEST_PAUSE)
        return watched.snapshot

    @asynccontextmanager
    async def listen(self, topic: Topic) -> AsyncIterator[Watched]:
        """Follows a topic inside of the context."""
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
        """Calls `is_allowed` regularly in the thread of the hub, once for all listeners of a
        credential. When it returns False, it revokes their permit and wakes them."""
        permit = self.permits.get(credential)
        if permit is None or permit.is_revoked:  # Permission may have been given again.
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
        def wake() -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._woken.set)

        def end() -> None:
            listener.stop()
            connections.close_all()

        # It calls `wake` in a thread of its own.
        listener = Listener(self.using, wake)
        try:
            await self._poll_until_left()
        finally:
            # No await since the last check of the topics: a new listener gets another hub.
            hubs = _hubs.get(self._loop, {})
            if hubs.get(self.using) is self:
                del hubs[self.using]
            self._thread.submit(end)
            self._thread.shutdown(wait=False)

    async def _poll_until_left(self) -> None:
        shortest = conf.current().POLL_INTERVAL
        pause, checked_at = shortest, self._loop.time()
        while self.topics:
            longest = shortest * LISTENING_POLL_FACTOR
            try:
                is_new = await self._poll()
                if self._loop.time() - checked_at > RECHECK:
                    checked_at = self._loop.time()
                    await self._check_permits()
            except Error as exc:
                logger.warning("events wait for the database: %s", exc, extra={"reason": str(exc)})
                is_new, longest = False, _LONGEST_PAUSE
            except Exception as exc:
                logger.exception("events failed: %s", exc, extra={"reason": str(exc)})
                is_new, longest = False, _LONGEST_PAUSE
            # An answer is soon followed by the next turn, and that by the end.
            pause = shortest if is_new else min(2 * pause, longest)
            await asyncio.sleep(shortest)
            if pause > shortest:
                await _is_set_within(self._woken, pause - shortest)
            self._woken.clear()
            now = self._loop.time()
            for topic, watched in list(self.topics.items()):
                if not watched.listeners and now - watched.left_at > LINGER:
                    del self.topics[topic]

    async def _poll(self) -> bool:
        """Reads what changed, and wakes its listeners. Returns whether anything changed."""
        known = {
            topic: watched.snapshot.version if watched.snapshot else None
            for topic, watched in self.topics.items()
            if watched.snapshot is None or not watched.snapshot.is_final
        }
        if not known:
            return False
        found = await self._loop.run_in_executor(self._thread, self._read, known)
        # Each is taken first: `any` stops at the first that is new.
        news = [self.topics[topic].take(snapshot) for topic, snapshot in found.items()]
        return any(news)

    async def _check_permits(self) -> None:
        for permit in list(self.permits.values()):
            if not await self._loop.run_in_executor(self._thread, permit.is_allowed):
                permit.is_revoked = True
        if any(permit.is_revoked for permit in self.permits.values()):
            for watched in self.topics.values():
                watched.wake()

    def _read(self, known: Mapping[Topic, Version | None]) -> dict[Topic, Snapshot]:
        # In the thread of the hub, to which its connection belongs.
        try:
            return read_snapshots(known, self.using)
        except Error:
            connections[self.using].close_if_unusable_or_obsolete()
            raise


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hub]] = WeakKeyDictionary()


def hub_of(using: str) -> Hub:
    """Returns the hub of a database in the running event loop.

    Listen to it before you await anything else: it ends some seconds after its last listener.
    """
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if using not in hubs:
        hubs[using] = Hub(using)
    return hubs[using]


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False

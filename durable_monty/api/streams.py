"""Server-sent events, as the HTML standard has them (section 9.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Hashable, Iterator

from asgiref.sync import sync_to_async
from django.db import connections

from durable_monty.api.hub import hub_of
from durable_monty.api.snapshots import OneExecution, Snapshot, Topic, read_news

# Seconds. Proxies close connections that are silent for a minute.
HEARTBEAT = 15.0
_RECONNECT = b"retry: 3000\n\n"
_REFUSED = {"code": "not_permitted", "message": "You may no longer follow this."}


async def events(
    using: str,
    topic: Topic,
    credential: Hashable,
    is_allowed: Callable[[], bool],
    last_id: str = "",
) -> AsyncIterator[bytes]:
    """Yields what happens to a topic until it ends, or `is_allowed` says no.

    A listener that is slower than the changes misses some of them, and gets the last state.
    `last_id`: what the listener has seen is not told again.
    """
    await sync_to_async(_close_idle)()
    hub = hub_of(using)
    async with hub.listen(topic) as watched, hub.permitted(credential, is_allowed) as permit:
        yield _RECONNECT
        snapshot, told = await hub.look(topic), None
        if snapshot.id == last_id:
            told = snapshot
        while not permit.is_revoked:
            if told is None or snapshot.id != told.id:
                yield b"".join(_news(topic, told, snapshot))
                told = snapshot
            if snapshot.is_final:
                return
            if watched.snapshot is snapshot and not await watched.wait(HEARTBEAT):
                yield b": heartbeat\n\n"
            snapshot = watched.snapshot or snapshot
        yield _event("refused", json.dumps(_REFUSED))


def events_now(using: str, topic: Topic, last_id: str = "") -> bytes:
    """What `events` yields at first. Whoever reconnects after it, as browsers do, polls."""
    snapshot = read_news({topic: None}, using)[topic]
    news = () if snapshot.id == last_id else _news(topic, None, snapshot)
    return b"".join([_RECONNECT, *news])


def _close_idle() -> None:
    """In the request's thread, which stays until the end of the stream: 200 listeners would keep
    200 connections there."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def _news(topic: Topic, told: Snapshot | None, now: Snapshot) -> Iterator[bytes]:
    if isinstance(topic, OneExecution):
        if now.rows:
            [state] = now.rows.values()
            yield _event("end" if now.is_final else "state", state, now.id)
        else:
            yield _event("gone", json.dumps({"execution_id": str(topic.pk)}), now.id)
    elif told is None:
        yield _event("list", f"[{', '.join(now.rows.values())}]", now.id)
    else:
        changed = [state for pk, state in now.rows.items() if told.rows.get(pk) != state]
        gone = [json.dumps({"execution_id": pk}) for pk in told.rows if pk not in now.rows]
        parts = [("gone", data) for data in gone] + [("state", data) for data in reversed(changed)]
        for number, (name, data) in enumerate(parts, 1):
            # Who loses the connection in between begins from the list again.
            yield _event(name, data, now.id if number == len(parts) else "")


def _event(name: str, data: str, event_id: str = "") -> bytes:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {name}\ndata: {data}\n\n".encode()

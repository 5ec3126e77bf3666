"""Writes server-sent events, as section 9.2 of the HTML standard defines them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Hashable, Iterator

from asgiref.sync import sync_to_async
from django.db import connections

from durable_monty.api.hub import hub_of
from durable_monty.api.snapshots import OneExecution, Snapshot, Topic, read_snapshots

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
    """Yields the events of a topic until it ends, or `is_allowed` returns False.

    A listener that is slower than the changes misses some of them, and gets the last state.
    A snapshot with the id `last_id` is not sent again.
    """
    # The thread of the request lives until the end of the stream. 200 listeners would keep 200
    # connections open there.
    await sync_to_async(_close_connections)()
    hub = hub_of(using)
    async with hub.listen(topic) as watched, hub.permitted(credential, is_allowed) as permit:
        yield _RECONNECT
        snapshot, sent = await hub.latest(topic), None
        if snapshot.id == last_id:
            sent = snapshot
        while not permit.is_revoked:
            if sent is None or snapshot.id != sent.id:
                yield b"".join(write_events(topic, sent, snapshot))
                sent = snapshot
            if snapshot.is_final:
                return
            if watched.snapshot is snapshot and not await watched.wait(HEARTBEAT):
                yield b": heartbeat\n\n"
            snapshot = watched.snapshot or snapshot
        yield _event("refused", json.dumps(_REFUSED))


def events_now(using: str, topic: Topic, last_id: str = "") -> bytes:
    """Returns what `events` yields first. Browsers reconnect after it, and so poll."""
    snapshot = read_snapshots({topic: None}, using)[topic]
    news = () if snapshot.id == last_id else write_events(topic, None, snapshot)
    return b"".join([_RECONNECT, *news])


def _close_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def write_events(topic: Topic, sent: Snapshot | None, now: Snapshot) -> Iterator[bytes]:
    """Yields the events that lead from the snapshot that was sent to the one that is now."""
    if isinstance(topic, OneExecution):
        if now.rows:
            [state] = now.rows.values()
            yield _event("end" if now.is_final else "state", state, now.id)
        else:
            yield _event("gone", json.dumps({"execution_id": str(topic.pk)}), now.id)
    elif sent is None:
        yield _event("list", f"[{', '.join(now.rows.values())}]", now.id)
    else:
        changed = [state for pk, state in now.rows.items() if sent.rows.get(pk) != state]
        gone = [json.dumps({"execution_id": pk}) for pk in sent.rows if pk not in now.rows]
        parts = [("gone", data) for data in gone] + [("state", data) for data in reversed(changed)]
        for number, (name, data) in enumerate(parts, 1):
            # A listener that loses the connection in between begins with the list again.
            yield _event(name, data, now.id if number == len(parts) else "")


def _event(name: str, data: str, event_id: str = "") -> bytes:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {name}\ndata: {data}\n\n".encode()

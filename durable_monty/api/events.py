"""Streams the events of an execution, or of a list of executions, as server-sent events."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.handlers.asgi import ASGIRequest
from django.db import router as databases
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from ninja import Router

from durable_monty.api.callers import Caller, require
from durable_monty.api.schemas import ERRORS, Key, Label, Moment
from durable_monty.api.snapshots import (
    NewestExecutions,
    OneExecution,
    Topic,
    read_snapshots,
    versions_of,
)
from durable_monty.api.streams import events, events_now
from durable_monty.exceptions import ExecutionNotFound
from durable_monty.models import ApiKey, Execution, ExecutionStatus
from durable_monty.models.clock import database_now
from durable_monty.reads.pages import ExecutionQuery

router = Router(tags=["events"])

_SCOPE, _PERMISSION = "read", "view_execution"
_EVENTS = "text/event-stream"
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["state", "end", "list", "gone", "refused"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_RESPONSES: dict[str, Any] = {
    "responses": {
        200: {"description": "Events", "content": {_EVENTS: {"schema": _EVENT}}},
        204: {"description": "The execution has ended, and the last event was its end"},
    }
}


@router.get("/executions/events", response=ERRORS, openapi_extra=_RESPONSES)
def list_events(
    request: HttpRequest,
    *,
    status: ExecutionStatus | None = None,
    name: Label | None = None,
    key: Key | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> HttpResponseBase:
    """Streams the newest 100 executions of a list, and then every change among them."""
    caller = require(request, _SCOPE, _PERMISSION)
    return _stream(
        request, caller, NewestExecutions(ExecutionQuery(status, name, key, since, until))
    )


@router.get("/executions/{execution_id}/events", response=ERRORS, openapi_extra=_RESPONSES)
def execution_events(request: HttpRequest, execution_id: uuid.UUID) -> HttpResponseBase:
    """Streams the state of an execution whenever it changes, until it ends."""
    caller = require(request, _SCOPE, _PERMISSION)
    using, topic = databases.db_for_read(Execution), OneExecution(execution_id)
    if not versions_of([execution_id], using):
        raise ExecutionNotFound(execution_id)
    if last_id := request.headers.get("Last-Event-ID"):
        seen = read_snapshots({topic: None}, using)[topic]
        if seen.is_final and seen.id == last_id:
            return HttpResponse(status=204)  # After any other response a browser reconnects.
    return _stream(request, caller, topic)


def _stream(request: HttpRequest, caller: Caller, topic: Topic) -> HttpResponseBase:
    last_id = request.headers.get("Last-Event-ID", "")
    using = databases.db_for_read(Execution)
    response: HttpResponseBase
    if isinstance(request, ASGIRequest):
        key_pk = None if caller.key is None else caller.key.pk
        user_pk = None if caller.user is None else caller.user.pk
        session = getattr(request, "session", None)
        session_key = None
        if caller.key is None and session is not None and SESSION_KEY in session:
            session_key = session.session_key
        # A stream outlives its request: the hub goes on checking what permitted it.
        credential = (key_pk, user_pk, session_key)
        is_allowed = partial(is_still_allowed, *credential)
        stream = events(using, topic, credential, is_allowed, last_id)
        response = StreamingHttpResponse(stream, content_type=_EVENTS)
    else:
        # A stream would occupy a thread of the server.
        response = HttpResponse(events_now(using, topic, last_id), content_type=_EVENTS)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def is_still_allowed(key_pk: int | None, user_pk: Any, session_key: str | None) -> bool:
    """Returns whether a key, a user and a session, as far as given, may still read."""
    key, user = None, None
    if key_pk is not None:
        using = databases.db_for_read(ApiKey)
        key = ApiKey.objects.using(using).filter(pk=key_pk).first()
        if key is None or not key.is_valid(database_now(using)):
            return False
    if user_pk is not None:
        user = get_user_model()._default_manager.filter(pk=user_pk).first()
        if user is None or not user.is_active:
            return False
        if session_key is not None:
            # Logging out ends the session, a new password changes the hash.
            session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(session_key)
            found = session.get(HASH_SESSION_KEY, "")
            if not constant_time_compare(found, user.get_session_auth_hash()):
                return False
    return Caller(user, key).may(_SCOPE, _PERMISSION)

"""Bearer keys."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from durable_monty.models import ApiKey, Call, Execution, clock
from durable_monty.operations import make_api_key, revoke_api_keys, use_api_key
from tests.api.conftest import Api, error_of

pytestmark = pytest.mark.django_db


def api_with(secret):
    return Api(Client(), Authorization=f"Bearer {secret}")


def is_refused(api):
    response = api.get("/executions")
    return (response.status_code, error_of(response)["code"]) == (401, "invalid_key")


@pytest.mark.parametrize("secret", ["", "dmk_wrong", "dmk_\N{SNOWMAN}", "a b", "x" * 5_000])
def test_a_wrong_key_is_refused_though_the_session_would_do(admin_user, secret):
    client = Client()
    client.force_login(admin_user)
    assert Api(client).get("/executions").status_code == 200
    assert is_refused(Api(client, Authorization=f"Bearer {secret}"))


def test_other_kinds_of_authorization_are_none_of_ours(admin_user):
    client = Client()
    client.force_login(admin_user)
    assert Api(client, Authorization="Basic eA==").get("/executions").status_code == 200


def test_expired_and_revoked_keys(move_clock):
    expires_at = clock.database_now("default") + timedelta(seconds=60)
    _key, expiring = make_api_key("a", ["read"], expires_at=expires_at, using="default")
    other, secret = make_api_key("b", ["read"], using="default")
    assert api_with(expiring).get("/executions").status_code == 200
    move_clock(61)
    assert is_refused(api_with(expiring))
    assert api_with(secret).get("/executions").status_code == 200
    assert revoke_api_keys([other.pk], using="default") == [other.pk]
    assert is_refused(api_with(secret))


@pytest.mark.parametrize("what", ["deleted", "inactive"])
def test_a_key_ends_with_its_user(make_user, with_key, what):
    user = make_user("view_execution")
    api = with_key("read", user=user)
    assert api.get("/executions").status_code == 200
    if what == "deleted":
        user.delete()
    else:
        user.is_active = False
        user.save()
    assert is_refused(api)


def test_its_use_is_noted_once_a_minute(move_clock, django_assert_num_queries):
    key, secret = make_api_key("ci", ["read"], using="default")
    assert key.last_used_at is None
    use_api_key(secret, using="default")
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(2):
        use_api_key(secret, using="default")
    assert ApiKey.objects.get().last_used_at == first
    move_clock(61)
    use_api_key(secret, using="default")
    assert ApiKey.objects.get().last_used_at > first


def test_an_unknown_scope_is_refused():
    with pytest.raises(ValueError, match="'write' is not a valid KeyScope"):
        make_api_key("ci", ["write"], using="default")


def test_what_was_done_is_noted_with_who_did_it(asked, with_key, make_user):
    user = make_user("view_call", "complete_call", "view_execution", "pause_execution")
    api = with_key("answer", "operate", user=user)
    execution = asked()
    api.post(f"/executions/{execution.pk}/calls/0/complete", {"result": 1, "reason": "agreed"})
    api.post(f"/executions/{execution.pk}/pause", {"reason": "lunch"})

    call = Call.objects.get()
    assert (call.completed_by_id, call.completed_by_name) == (user.pk, user.username)
    assert call.reason == "agreed"
    assert Execution.objects.get().reason == "lunch"
    key = ApiKey.objects.get()
    entries = LogEntry.objects.order_by("pk")
    assert list(entries.values_list("user_id", "object_id", "change_message")) == [
        (user.pk, str(call.pk), f"Completed by hand. Reason: agreed API key: {key}."),
        (user.pk, str(execution.pk), f"Paused. Reason: lunch API key: {key}."),
    ]


def test_a_key_of_nobody_is_named_where_it_answered(asked, with_key):
    execution = asked()
    with_key("answer").post(f"/executions/{execution.pk}/calls/0/fail", {"error": "no"})
    call = Call.objects.get()
    assert call.completed_by_id is None
    assert call.completed_by_name == f"API key {ApiKey.objects.get()}"


def test_refused_changes_leave_no_note(api, asked):
    execution = asked()
    assert api.post(f"/executions/{execution.pk}/resume").status_code == 409
    assert not LogEntry.objects.exists()


def test_the_moment_of_a_key_is_utc():
    key, _secret = make_api_key(
        "ci", ["read"], expires_at=datetime(2030, 1, 1, tzinfo=UTC), using="default"
    )
    assert ApiKey.objects.get(pk=key.pk).expires_at == datetime(2030, 1, 1, tzinfo=UTC)

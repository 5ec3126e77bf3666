import re

import pytest
from django.urls import reverse
from django.utils import translation

from durable_monty.models import ApiKey
from durable_monty.models.api_key import hash_of
from durable_monty.operations import make_api_key, use_api_key
from tests.admin.pages import history, list_url, text_of, url_of

pytestmark = pytest.mark.django_db

ADD = "admin:durable_monty_apikey_add"
GIVEN = {"name": "ci", "scopes": ["start", "read"], "days": "30"}


@pytest.fixture
def keeper(staff):
    return staff("view_apikey", "manage_apikey", name="keeper")


def secret_of(response):
    (secret,) = re.findall(r'id="durable-secret">(dmk_[\w-]+)<', response.content.decode())
    return secret


def revoke(client, *pks):
    data = {"action": "revoke", "_selected_action": pks}
    return client.post(list_url(ApiKey), data, follow=True)


def test_the_secret_is_shown_once_and_not_stored(keeper):
    response = keeper.post(reverse(ADD), GIVEN)

    key, secret = ApiKey.objects.get(), secret_of(response)
    assert len(secret) == 47
    assert "no-store" in response["Cache-Control"]
    assert (key.name, key.scopes, key.user_id) == ("ci", "read,start", keeper.user.pk)
    assert (key.sha256, key.prefix) == (hash_of(secret), secret[:12])
    assert (key.expires_at - key.created_at).total_seconds() == pytest.approx(30 * 86_400, abs=60)
    assert use_api_key(secret, using="default") == key
    assert secret not in str(ApiKey.objects.values().get())
    for url in (list_url(ApiKey), url_of(key)):
        page = text_of(keeper.get(url))
        assert secret not in page
        assert key.prefix in page
    assert history() == [("keeper", "Made.")]


def test_a_key_is_revoked(keeper):
    key, secret = make_api_key("ci", ["read"], using="default")

    page = text_of(revoke(keeper, key.pk))

    assert "1 key is revoked." in page
    assert "Revoked" in page
    assert use_api_key(secret, using="default") is None
    assert history() == [("keeper", "Revoked.")]
    assert "0 keys are revoked." in text_of(revoke(keeper, key.pk))


def test_who_may_only_look_makes_and_revokes_none(staff):
    viewer = staff("view_apikey", name="viewer")
    key, secret = make_api_key("ci", ["read"], using="default")

    assert viewer.get(reverse(ADD)).status_code == 403
    assert viewer.post(reverse(ADD), GIVEN).status_code == 403
    revoke(viewer, key.pk)
    assert "Revoke selected" not in text_of(viewer.get(list_url(ApiKey)))
    assert use_api_key(secret, using="default") == key
    assert ApiKey.objects.count() == 1
    assert staff(name="nobody").get(list_url(ApiKey)).status_code == 403


def test_only_superusers_make_keys_for_others(keeper, admin_client, admin_user):
    keeper.post(reverse(ADD), GIVEN | {"acts_for": "admin"})
    assert ApiKey.objects.get().user_id == keeper.user.pk

    admin_client.post(reverse(ADD), GIVEN | {"acts_for": "keeper"})
    assert ApiKey.objects.latest("pk").user_id == keeper.user.pk
    admin_client.post(reverse(ADD), GIVEN | {"acts_for": "", "days": ""})
    key = ApiKey.objects.latest("pk")
    assert (key.user_id, key.expires_at) == (None, None)
    refused = text_of(admin_client.post(reverse(ADD), GIVEN | {"acts_for": "nobody-of-us"}))
    assert "There is no such user." in refused
    assert ApiKey.objects.count() == 3


def test_the_list_says_for_whom_they_act(keeper, admin_user, staff, django_assert_num_queries):
    gone = staff(name="gone").user
    for user in (None, admin_user, gone):
        make_api_key("ci", ["read"], user=user, using="default")
    gone.delete()
    keeper.get(list_url(ApiKey))

    with django_assert_num_queries(7):
        page = text_of(keeper.get(list_url(ApiKey)))

    for text in ("nobody", "admin", "a deleted user", "Valid"):
        assert text in page


def test_it_is_in_german(keeper):
    with translation.override("de"):
        page = text_of(keeper.get(reverse(ADD), headers={"Accept-Language": "de"}))
        made = text_of(keeper.post(reverse(ADD), GIVEN))
    assert "Einen API-Schlüssel anlegen" in page
    assert "Ausführungen, Aufrufe und Exporte lesen" in page
    assert "Niemand kann ihn wieder lesen." in made

"""Run by `test_unfold.py`, with settings of its own."""

import json

import pytest
from django.contrib import admin
from unfold.admin import ModelAdmin

from durable_monty.models import Call
from tests.admin.pages import text_of, url_of
from tests.browser.pages import DASHBOARD, MODELS, addresses, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored(service):
    return fill(service)


def test_every_admin_is_registered_again():
    for model in MODELS:
        assert isinstance(admin.site.get_model_admin(model), ModelAdmin)


def test_pages_load(stored, admin_client):
    for address in addresses():
        response = admin_client.get(address)
        assert response.status_code == 200, address
        assert b"unfold/css/styles.css" in response.content, address
    assert "Needs attention" in text_of(admin_client.get(DASHBOARD))


def test_a_call_is_answered(stored, admin_client):
    call = Call.objects.get(execution_id=stored["waiting"], function="approve")
    page = admin_client.get(url_of(call))
    assert b'name="outcome"' in page.content
    assert b'name="_save"' in page.content

    wrong = admin_client.post(url_of(call), {"outcome": "complete"})
    assert wrong.status_code == 200
    answer = {"outcome": "complete", "result": "true", "reason": "why not"}
    assert admin_client.post(url_of(call), answer).status_code == 302

    call.refresh_from_db()
    assert (call.status, json.loads(call.result), call.reason) == ("completed", True, "why not")
    assert "why not" in text_of(admin_client.get(url_of(call)))

import json
import uuid
from importlib.util import find_spec

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from durable_monty import operations
from durable_monty.models import Execution, KeyScope

# A skip here would end a run that is given this folder.
collect_ignore_glob = [] if find_spec("ninja") else ["test_*.py"]

URLS = "tests.api.urls"


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = URLS


class Api:
    """A client that speaks JSON."""

    def __init__(self, client, **headers):
        self.client, self.headers = client, headers

    def get(self, path, **query):
        return self.client.get(f"/api{path}", query, headers=self.headers)

    def post(self, path, body=None, **query):
        url = f"/api{path}"
        given = {"data": "" if body is None else json.dumps(body)}
        given["content_type"] = "application/json"
        return self.client.post(url, **given, query_params=query, headers=self.headers)


@pytest.fixture
def make_user(db, django_user_model):
    def make(*codenames, **fields):
        user = django_user_model.objects.create_user(
            f"user-{uuid.uuid4().hex[:8]}", password="secret", **fields
        )
        permissions = Permission.objects.filter(
            content_type__app_label="durable_monty", codename__in=codenames
        )
        assert len(permissions) == len(codenames)
        user.user_permissions.set(permissions)
        return user

    return make


@pytest.fixture
def api_of():
    """The API as a user who has logged in sees it."""

    def make(user):
        client = Client()
        client.force_login(user)
        return Api(client)

    return make


@pytest.fixture
def with_key(db):
    """The API with a new key."""

    def make(*scopes, **options):
        _key, secret = operations.make_api_key("test", scopes, **options, using="default")
        return Api(Client(), Authorization=f"Bearer {secret}")

    return make


@pytest.fixture
def api(db, with_key, admin_user):
    """With all scopes, for a superuser."""
    return with_key(*KeyScope, user=admin_user)


@pytest.fixture
def asked(db, service):
    """Starts a workflow, runs its first turn, and gives it."""

    def ask(source="await approve('the budget')", functions=("approve",), **options):
        execution_id = service.start_execution(source, functions, **options)
        service.process_execution(execution_id)
        return Execution.objects.get(pk=execution_id)

    return ask


def error_of(response):
    return response.json()["error"]

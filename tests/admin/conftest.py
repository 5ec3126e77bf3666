import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from durable_monty.models import Call

VIEW = (
    "view_execution",
    "view_call",
    "view_snapshot",
    "view_workerprocess",
    "view_program",
    "view_dashboard",
)


@pytest.fixture
def staff(db, django_user_model):
    """Makes the client of a staff member with these permissions of the app."""
    # Django keeps them for the process; tests that count queries must not depend on their order.
    ContentType.objects.get_for_models(*apps.get_app_config("durable_monty").get_models())

    def make(*codenames, name="staff"):
        user = django_user_model.objects.create_user(name, password="secret", is_staff=True)
        permissions = Permission.objects.filter(
            content_type__app_label="durable_monty", codename__in=codenames
        )
        assert len(permissions) == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        client.user = user
        return client

    return make


@pytest.fixture
def viewer(staff):
    return staff(*VIEW, name="viewer")


@pytest.fixture
def clerk(staff):
    """Sees everything, and may answer calls."""
    return staff(*VIEW, "complete_call", name="clerk")


@pytest.fixture
def asked(db, service):
    """Starts a workflow, runs its first turn, and gives the first call that it made."""

    def ask(source="await approve('the budget')", functions=("approve",), **options):
        execution_id = service.start_execution(source, functions, **options)
        service.process_execution(execution_id)
        return Call.objects.get(execution_id=execution_id, call_id=0)

    return ask

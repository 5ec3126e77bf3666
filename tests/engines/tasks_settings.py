"""The settings of workers whose tasks are rows: django-tasks-db on the test's database."""

from tests.worker_settings import *
from tests.worker_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

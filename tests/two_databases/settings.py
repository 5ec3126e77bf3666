"""Our tables in a database of their own, users in another one, which is an SQLite file."""

import os

from tests.worker_settings import *
from tests.worker_settings import DATABASES, INSTALLED_APPS, MIGRATION_MODULES

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["USERS_FILE"]},
    "durable": DATABASES["default"],
}
DATABASE_ROUTERS = ["tests.two_databases.router.Router"]
ALLOWED_HOSTS = ["testserver"]
if os.environ["AUTH_USER_MODEL"] == "two_databases.User":
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.two_databases"]
    AUTH_USER_MODEL = "two_databases.User"
    MIGRATION_MODULES = {**MIGRATION_MODULES, "two_databases": None}

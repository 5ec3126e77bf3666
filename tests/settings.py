import json
import os

from example_project.settings import *
from example_project.settings import DATABASES, INSTALLED_APPS

SECRET_KEY = "tests-only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A worker process that a test starts is given its settings in this variable.
DURABLE_MONTY = {
    "POLL_INTERVAL": 0.01,
    **json.loads(os.environ.get("DURABLE_MONTY_JSON", "{}")),
}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.app"]
MIGRATION_MODULES = {"app": None}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # In memory it would be invisible to other processes and threads.
    DATABASES["default"].setdefault("TEST", {})["NAME"] = os.environ.get(
        "TEST_DATABASE_FILE", "test_db.sqlite3"
    )

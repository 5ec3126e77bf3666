import json
import os
import tempfile

from example_project.settings import *
from example_project.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

SECRET_KEY = "tests-only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A worker process that a test starts is given its settings in this variable.
DURABLE_MONTY = {
    "POLL_INTERVAL": 0.01,
    **json.loads(os.environ.get("DURABLE_MONTY_JSON", "{}")),
}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.app"]
MIDDLEWARE = ["tests.browser.csp.strict", *MIDDLEWARE]
MIGRATION_MODULES = {"app": None}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # In memory it would be invisible to other processes and threads; two test runs need two.
    DATABASES["default"].setdefault("TEST", {})["NAME"] = os.environ.get(
        "TEST_DATABASE_FILE", f"{tempfile.gettempdir()}/durable_monty_test_{os.getpid()}.sqlite3"
    )

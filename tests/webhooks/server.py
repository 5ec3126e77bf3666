"""What the tests let uvicorn serve."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.worker_settings")

from durable_monty import create_app

app = create_app()

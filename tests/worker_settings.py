"""For the worker processes that tests start: `Q_CLUSTER_JSON` is merged over Q_CLUSTER, and all
is logged with the process id."""

import json
import os

from tests.settings import *
from tests.settings import Q_CLUSTER

Q_CLUSTER = {**Q_CLUSTER, **json.loads(os.environ.get("Q_CLUSTER_JSON", "{}"))}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "facts": {
            "()": "example_project.logs.FactsFormatter",
            "format": "{asctime} {process} {levelname} {message}",
            "style": "{",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "facts"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO"} for name in ("durable_monty", "django-q")
    },
}

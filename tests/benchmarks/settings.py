"""As a project would have them: the defaults of durable_monty, on the database of the run."""

import os

import dj_database_url

from example_project.settings import *
from example_project.settings import DATABASES, INSTALLED_APPS, Q_CLUSTER

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "example_project.videos"]
INSTALLED_APPS += ["tests.benchmarks"]
DEBUG = False
DURABLE_MONTY = {}
if peer_url := os.environ.get("BENCHMARK_PEER_URL"):
    DATABASES["peer"] = {**DATABASES["default"], "NAME": dj_database_url.parse(peer_url)["NAME"]}
    # Results are kept, all of them.
    Q_CLUSTER = {**Q_CLUSTER, "orm": "peer", "save_limit": 0, "log_level": "WARNING"}

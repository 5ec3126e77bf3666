"""As a project would have them: the defaults of durable_monty, on the database of the run."""

import os

import dj_database_url

from example_project.settings import *
from example_project.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "example_project.videos"]
INSTALLED_APPS += ["tests.benchmarks"]
DEBUG = False
DURABLE_MONTY = {}
if peer_url := os.environ.get("BENCHMARK_PEER_URL"):
    DATABASES["peer"] = {**DATABASES["default"], **dj_database_url.parse(peer_url)}

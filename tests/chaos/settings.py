"""For the command and for the workers that it starts; the command sets the variables."""

import os

from tests.worker_settings import *
from tests.worker_settings import DURABLE_MONTY, INSTALLED_APPS, MIGRATION_MODULES

LEASE = 2.0
INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]
MIGRATION_MODULES = {**MIGRATION_MODULES, "chaos": None}
DURABLE_MONTY = {**DURABLE_MONTY, "LEASE": LEASE, "DRAIN_TIMEOUT": 10.0, "POLL_INTERVAL": 0.02}
# Ordinary effects are lines of this file: it knows nothing of transactions.
CHAOS_NOTES = os.environ.get("CHAOS_NOTES", "")

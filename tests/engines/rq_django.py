"""The configuration of the RQ workers that have Django: `rq worker --config`."""

import django

django.setup()

# Before RQ forks: otherwise the process of each job imports it, which takes longer than most jobs.
import durable_monty.executors.remote  # noqa: E402, F401

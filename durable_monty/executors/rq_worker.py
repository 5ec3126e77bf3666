"""The configuration of RQ workers that have Django, for the option `--config` of `rq worker`.

It sets Django up with `DJANGO_SETTINGS_MODULE`, and takes the queue and the URL of Redis from the
options of the executor `rq` in `DURABLE_MONTY["EXECUTORS"]`.
"""

import django

django.setup()

# Imported before RQ forks: otherwise the process of each job would import them again.
from durable_monty.executors import batch, remote  # noqa: E402, F401
from durable_monty.executors.loading import options_of  # noqa: E402
from durable_monty.executors.rq.executor import DEFAULT_QUEUE, DEFAULT_URL  # noqa: E402

_options = options_of("rq")

QUEUES = [_options.get("queue_name", DEFAULT_QUEUE)]
# A project that passes its own client starts its workers with `rq worker --url`.
if "connection" not in _options:
    REDIS_URL = _options.get("url", DEFAULT_URL)

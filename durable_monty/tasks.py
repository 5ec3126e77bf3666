"""For Celery's autodiscovery, which imports the module `tasks` of every installed app."""

from importlib.util import find_spec

if find_spec("celery") is not None:
    from durable_monty.executors.celery.tasks import run_call

    __all__ = ["run_call"]

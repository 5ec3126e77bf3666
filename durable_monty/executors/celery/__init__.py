"""The executor that sends calls to Celery: docs/how-to/celery.md. Its task is in `tasks`."""

from durable_monty.executors.celery.executor import CeleryExecutor

__all__ = ["CeleryExecutor"]

"""The Celery executor. Celery's workers import `durable_monty.executors.celery.tasks`."""

from durable_monty.executors.celery.executor import CeleryExecutor

__all__ = ["CeleryExecutor"]

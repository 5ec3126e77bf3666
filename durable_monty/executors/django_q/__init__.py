"""The executor that runs calls in a django-q2 cluster. See `docs/explanation/calls.md`."""

from durable_monty.executors.django_q.broker import CallBroker, SharedBroker
from durable_monty.executors.django_q.executor import DjangoQExecutor
from durable_monty.executors.django_q.task import run_task

__all__ = ["CallBroker", "DjangoQExecutor", "SharedBroker", "run_task"]

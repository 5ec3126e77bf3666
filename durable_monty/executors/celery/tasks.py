"""The task by which Celery's workers run calls in the mode "django"."""

from celery import shared_task

from durable_monty.executors.celery.executor import RUN_CALL
from durable_monty.executors.remote import run_job


# Acknowledged before it runs: a call whose worker vanished comes back by its lease. A message
# that came back too would find the claim used up.
@shared_task(name=RUN_CALL, ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
def run_call(pk: int, token: str, using: str = "default") -> None:
    run_job(pk, token, using)

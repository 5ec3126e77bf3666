"""The task with which Celery's workers run calls in the mode "django"."""

from celery import shared_task

from durable_monty.executors.celery.executor import RUN_CALL
from durable_monty.executors.remote import run_job


# Acknowledged before it runs: the lease brings back a call whose worker vanished. A message that
# came back too would find its claim replaced.
@shared_task(name=RUN_CALL, ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
def run_call(pk: int, token: str, using: str = "default") -> None:
    run_job(pk, token, using)

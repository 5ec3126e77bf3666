"""The Celery app of workers that have Django, as a project's own `celery.py`."""

import os

from celery import Celery

app = Celery("tests")
app.conf.update(
    broker_url=os.environ["CELERY_BROKER"],
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["CELERY_QUEUE"],
    worker_hijack_root_logger=False,
)
app.autodiscover_tasks()

"""The Celery app of workers that know nothing of Django: a task for each function."""

import os

from celery import Celery

from tests.engines import functions

app = Celery("tests")
app.conf.update(
    broker_url=os.environ["CELERY_BROKER"],
    result_backend=os.environ["CELERY_BACKEND"],
    result_backend_always_retry=True,
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["CELERY_QUEUE"],
)
for name, function in vars(functions).items():
    if getattr(function, "__module__", "") == functions.__name__ and not isinstance(
        function, type
    ):
        app.task(name=f"{functions.__name__}.{name}")(function)

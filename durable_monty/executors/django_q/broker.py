"""Makes the call table django-q2's broker: there is no second queue and no double write."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

from django.db import router
from django_q.brokers import Broker, get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.signing import SignedPackage

from durable_monty import conf
from durable_monty.executors.django_q.board import TaskChannel
from durable_monty.executors.django_q.channels import Bell
from durable_monty.executors.django_q.logs import demote_calls
from durable_monty.executors.django_q.task import task_for
from durable_monty.functions import DEFAULT_EXECUTOR, FUNCTION_REGISTRY
from durable_monty.loop_errors import LoopErrors
from durable_monty.models import Call
from durable_monty.models.clock import database_now
from durable_monty.operations.claim import claim_calls
from durable_monty.wakeups import LISTENING_POLL_FACTOR

NAME = "django_q"
SERVED = (DEFAULT_EXECUTOR, NAME)

_FULL_PAUSES = (0.001, 0.02)  # seconds: first, longest

Package = tuple[Any, str]


class CallSource(Broker):  # type: ignore[misc]
    """A broker that gives out due calls first.

    Acknowledging a call does nothing. The worker records its answer; if the worker died, the lease
    brings the call back.
    """

    worker_id: int | None = None
    # Only a cluster of `runworker` sets these two.
    tasks: TaskChannel | None = None
    calls_came: Bell | None = None
    # An idle broker waits for so many times `POLL_INTERVAL`, or until the bell rings.
    _poll_factor = 1
    _errors: LoopErrors | None = None
    _full_pause = 0.0
    _has_all = False  # whether the last claim took all due calls

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        demote_calls()

    def dequeue(self) -> list[Package] | None:
        """Returns the next tasks. Waits a little if there are none."""
        if self.tasks is None:
            # django-q2's pusher blocks when its queue is full (Q_CLUSTER["queue_limit"]).
            room = max(1, min(int(Conf.BULK), int(Conf.WORKERS)))
        else:
            self.tasks.beat()
            room = self.tasks.room()
        if room <= 0:
            self._full_pause = min(2 * self._full_pause or _FULL_PAUSES[0], _FULL_PAUSES[1])
            time.sleep(self._full_pause)
            return None
        self._full_pause = 0.0
        try:
            return self._packages(room) or self._other_tasks()
        except Exception as exc:  # noqa: BLE001  (django-q2 would sleep 10 s and replace the pusher)
            self._errors = self._errors or LoopErrors("Claiming calls", self.using)
            time.sleep(self._errors.note(exc))
            return None

    @cached_property
    def using(self) -> str:
        return router.db_for_write(Call)

    def acknowledge(self, task_id: Any) -> None:
        if not _is_call(task_id):
            super().acknowledge(task_id)

    def fail(self, task_id: Any) -> None:
        if not _is_call(task_id):
            super().fail(task_id)

    def _packages(self, room: int) -> list[Package]:
        """Claims calls for at most `room` tasks. While calls are quick, a task has several."""
        if self._has_all:
            self._has_all = False
            return []
        most = 1 if self.tasks is None else self.tasks.calls_at_once()
        # Other processes could run the calls that are claimed beyond that.
        limit = min(room * most, max(room, conf.current().BATCH_SIZE))
        claims = claim_calls(
            FUNCTION_REGISTRY.served_by(SERVED),
            SERVED,
            limit,
            using=self.using,
            worker_id=self.worker_id,
        )
        self._has_all = self.calls_came is not None and 0 < len(claims) < limit
        groups = [[claimed] for claimed in claims if claimed.alone]
        together = [claimed for claimed in claims if not claimed.alone]
        groups += [together[at : at + most] for at in range(0, len(together), most)]
        return [
            (f"call-{group[0].pk}", SignedPackage.dumps(task_for(group, self.using)))
            for group in groups
        ]

    def _other_tasks(self) -> list[Package] | None:
        """Returns the project's own tasks. Waits a little if there are none."""
        seconds = conf.current().POLL_INTERVAL
        if self.calls_came is None:
            time.sleep(seconds)
        else:
            self.calls_came.wait(self._poll_factor * seconds)
        return None


class CallBroker(CallSource):
    """A broker of calls alone. Tasks of django-q2's scheduler go to the project's own broker."""

    _poll_factor = LISTENING_POLL_FACTOR

    def enqueue(self, task: str) -> Any:
        broker = get_broker(self.list_key)
        if isinstance(broker, CallBroker):
            raise TypeError(
                "CallBroker takes no tasks. Set Q_CLUSTER['broker_class'] to "
                "'durable_monty.executors.django_q.SharedBroker'."
            )
        return broker.enqueue(task)

    def queue_size(self) -> int:
        return (
            Call.objects.using(self.using)
            .due(database_now(self.using))
            .filter(executor__in=SERVED)
            .count()
        )

    def lock_size(self) -> int:
        return 0

    def ping(self) -> bool:
        return True

    def info(self) -> str:
        return "durable_monty"

    @staticmethod
    def get_cache() -> None:
        """Returns no cache: django-q2 would write statistics to it twice a second."""
        return


class SharedBroker(CallSource, ORM):  # type: ignore[misc]
    """A value for Q_CLUSTER["broker_class"]: due calls first, then tasks of the ORM broker."""

    def _other_tasks(self) -> list[Package] | None:
        if not self.queue_size():
            # Not left to ORM.dequeue, which would sleep for Q_CLUSTER["poll"].
            return super()._other_tasks()
        tasks: list[Package] | None = ORM.dequeue(self)
        return tasks


def _is_call(task_id: Any) -> bool:
    return isinstance(task_id, str) and task_id.startswith("call-")

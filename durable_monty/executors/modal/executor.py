from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ImproperlyConfigured

from durable_monty import codec
from durable_monty.executors.base import JobStatus
from durable_monty.executors.remote import RemoteExecutor
from durable_monty.models import Call

if TYPE_CHECKING:
    from durable_monty.executors.modal.client import ModalClient


class ModalExecutor(RemoteExecutor):
    """Spawns calls as functions of the Modal app `app`, in its `environment` or the default one.

    `functions` maps names of registered functions to names in the app, where they differ. `poll`
    is the longest time in seconds that a request waits at Modal for the end of a call.
    """

    name: ClassVar[str] = "modal"

    def __init__(
        self,
        app: str,
        *,
        environment: str | None = None,
        functions: Mapping[str, str] | None = None,
        poll: float = 5.0,
    ) -> None:
        super().__init__(poll=poll)
        if not isinstance(app, str) or not app:
            raise ValueError(f"app is {app!r}; it must be the name of a deployed Modal app")
        if importlib.util.find_spec("modal") is None:
            raise ImproperlyConfigured(
                "The executor 'modal' needs modal, which is not installed: "
                "pip install 'django-durable-monty[modal]'."
            )
        self.app, self.environment = app, environment
        self.functions = dict(functions or {})
        self._client: ModalClient | None = None

    def submit_call(self, call: Call) -> str:
        function = self.functions.get(call.function, call.function)
        args = codec.as_dicts(codec.decode(call.args))
        kwargs = codec.as_dicts(codec.decode(call.kwargs))
        return self._connected().spawn(call.pk, function, args, kwargs)

    def check_job(self, job_id: str) -> JobStatus:
        return self._connected().check(job_id)

    def revoke_job(self, job_id: str) -> None:
        self._connected().cancel(job_id)

    def get_stats(self) -> dict[str, Any]:
        return {"jobs": self._client.waiting if self._client else 0}

    def stop(self, timeout: float) -> bool:
        """Disconnects. Spawned calls go on, and the next worker checks them."""
        if self._client is not None:
            self._client.stop()
            self._client = None
        return True

    def _connected(self) -> ModalClient:
        # Imported with the first call: Modal's library takes a second.
        from durable_monty.executors.modal.client import ModalClient

        if self._client is None:
            self._client = ModalClient(self.app, self.environment, self.poll, self.deliver)
        return self._client

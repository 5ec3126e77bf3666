from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: the function's result. If it is `accepted`, the result is still to
    come."""

    result: Any = None
    accepted: bool = False


class Exchange:
    """The time that one request may take. Another thread can cut the request off."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._is_cut = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0.001."""
        return max(0.001, self._ends_at - time.monotonic())  # sockets read 0 as "do not wait"

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    @property
    def is_cut(self) -> bool:
        return self._is_cut.is_set()

    def attach(self, connected: socket.socket) -> None:
        """Takes the socket of the request, for a cut to shut it down."""
        with self._lock:
            self._socket = connected
            if self.is_cut:
                self._shut_down()

    def cut(self) -> None:
        with self._lock:
            if not self.is_cut:
                self._is_cut.set()
                self._shut_down()

    def pause(self, seconds: float) -> None:
        """Waits. A cut ends the pause, and so does the end of the request's time."""
        self._is_cut.wait(min(seconds, self.left))

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)

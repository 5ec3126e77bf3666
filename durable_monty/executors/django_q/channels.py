"""Channels between the processes of a cluster, without locks that a killed process could keep.

`multiprocessing.Queue` holds a semaphore while it waits for a message, so kill -9 of an idle
worker froze the whole cluster. Kill -9 of a process that waits for an `Event` made its `set()`
hang (both measured). The kernel keeps sockets and pipes intact when a reader dies.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import socket
import struct
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

# Both kinds keep messages whole. macOS has only the second, with 2 KB for a packet by default.
_KIND = socket.SOCK_SEQPACKET if sys.platform.startswith("linux") else socket.SOCK_DGRAM
# Linux holds 160 such packets before `put` blocks. Larger messages travel as an open file.
_MAX_PACKET = 2000
_INT = struct.Struct("i")


class Bell:
    """Wakes a waiting process. Several rings count as one."""

    def __init__(self) -> None:
        # The connections only own the descriptors: their messages would not be atomic.
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)
        os.set_blocking(self._reader.fileno(), False)
        os.set_blocking(self._writer.fileno(), False)

    def ring(self) -> None:
        with suppress(BlockingIOError):  # 65,536 rings that nobody has waited for yet
            os.write(self._writer.fileno(), b"!")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for a ring. Returns whether it was rung since the last wait."""
        if not wait([self._reader], timeout):
            return False
        try:
            os.read(self._reader.fileno(), 65_536)
        except BlockingIOError:
            return False  # another waiting process was quicker
        return True


class Flag(Bell):
    """An event that is set once and never cleared."""

    def set(self) -> None:
        self.ring()

    def is_set(self) -> bool:
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> bool:
        return bool(wait([self._reader], timeout))


class Channel:
    """A replacement for `multiprocessing.Queue`. Each message goes to one of its readers."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, _KIND)

    def __del__(self) -> None:
        self._reader.close()
        self._writer.close()

    def put(self, message: Any) -> None:
        packet = bytes(ForkingPickler.dumps(message))
        if len(packet) <= _MAX_PACKET:
            self._send(packet)
            return
        with tempfile.TemporaryFile() as file:
            file.write(packet)
            file.flush()
            descriptor = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _INT.pack(file.fileno()))
            self._send(b"file", descriptor)

    def get(self, *, block: bool = True) -> Any:
        """Returns the next message. Raises BlockingIOError if there is none and `block` is
        False."""
        # Not socket.recv_fds: up to Python 3.13 at least it drops its flags.
        packet, ancillary, _flags, _address = self._reader.recvmsg(
            _MAX_PACKET, socket.CMSG_SPACE(_INT.size), 0 if block else socket.MSG_DONTWAIT
        )
        for _level, _type, data in ancillary:
            with os.fdopen(_INT.unpack(data)[0], "rb") as file:
                file.seek(0)
                packet = file.read()
        return pickle.loads(packet)  # noqa: S301  (from a process of this cluster)

    def empty(self) -> bool:
        return not wait([self._reader], 0)

    def qsize(self) -> int:
        """Returns 1 if there are messages, else 0: enough for django-q2's statistics."""
        return int(not self.empty())

    def close(self) -> None:
        """Does nothing: `Queue.close` ends the writing of its caller alone."""

    def join_thread(self) -> None:
        """Does nothing: the kernel has all messages already."""

    def _send(self, packet: bytes, *ancillary: tuple[int, int, bytes]) -> None:
        while True:
            try:
                self._writer.sendmsg([packet], ancillary)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
                time.sleep(0.005)  # macOS: full, and it does not block
            else:
                return

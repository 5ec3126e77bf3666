from __future__ import annotations

import threading
from collections.abc import Callable


def keep_running(
    thread: threading.Thread | None, target: Callable[[], None], name: str
) -> threading.Thread:
    """Returns `thread` if it is alive, or else a new daemon thread that runs `target`."""
    if thread is None or not thread.is_alive():
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
    return thread

"""Runs a command that ends when its parent does, even by kill -9: a demo leaves no orphans.

`python -m example_project.videos.demo.leash PARENT ARGUMENT...` is `manage.py ARGUMENT...`.
"""

import ctypes
import os
import signal
import sys
import threading
import time

from django.core.management import execute_from_command_line

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *arguments = sys.argv[1:]
    end_with(int(parent))
    execute_from_command_line(["manage.py", *arguments])


def end_with(parent: int) -> None:
    if sys.platform == "linux":
        # SIGKILL, not SIGTERM: the demo's kill -9 shall be a crash, without a drain.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before that
        os._exit(1)


def watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    main()

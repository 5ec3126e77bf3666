"""A database whose settings, session and server have a time zone."""

import os

from tests.worker_settings import *
from tests.worker_settings import DATABASES

TIME_ZONE = "Asia/Kolkata"
DATABASES["default"]["TIME_ZONE"] = os.environ["DATABASE_ZONE"] or None
if command := os.environ["SESSION_COMMAND"]:
    DATABASES["default"].setdefault("OPTIONS", {})["init_command"] = command

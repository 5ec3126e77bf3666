"""For the processes that are killed: their stderr is read only when something is wrong."""

from tests.settings import *

LOGGING = {"version": 1, "disable_existing_loggers": False}

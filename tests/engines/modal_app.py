"""Functions of the tests' Modal app that do what only a container of Modal can do."""

import sys
from types import ModuleType


class ContainerCrash(BaseException):
    """Ends the container of the function that raises it."""


class Overrun(BaseException):
    """Says that the function has had all the time that it may take."""


def crash():
    raise ContainerCrash


def overrun_there():
    raise Overrun


def leave():
    sys.exit(3)


def time_out():
    raise TimeoutError


def be_unavailable():
    """Raises what Modal's client raises in the worker when it does not reach Modal."""
    from modal.exception import ConnectionError

    raise ConnectionError("the function's own connection")


def fail_strangely(message):
    """Raises an exception whose class is only here."""
    module = sys.modules.setdefault("only_there", ModuleType("only_there"))
    strange = type("StrangeError", (ValueError,), {"__module__": "only_there"})
    module.StrangeError = vars(module).get("StrangeError", strange)
    raise module.StrangeError(message)


def strange_value():
    """Returns a value whose class is only here."""
    module = sys.modules.setdefault("only_there", ModuleType("only_there"))
    module.Strange = vars(module).get("Strange", type("Strange", (), {"__module__": "only_there"}))
    return module.Strange()

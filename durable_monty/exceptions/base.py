from __future__ import annotations

import re


class DurableMontyError(Exception):
    """Base of every error of this package."""

    __module__ = __package__

    def __init_subclass__(cls) -> None:
        # Tracebacks and pickles name the package: which of its modules has a class may change.
        if cls.__module__.startswith(f"{__package__}."):
            cls.__module__ = __package__


def code_of(kind: type[DurableMontyError]) -> str:
    """Returns the code of an error over HTTP: `CallSettled` is "call_settled"."""
    # Clients of the API compare the code, so renaming a class would break them.
    return re.sub("(?<!^)(?=[A-Z])", "_", kind.__name__).lower()

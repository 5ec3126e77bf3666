from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from durable_monty.exceptions import RunsElsewhere
from durable_monty.executors.http.allowed_hosts import parse_url


def remote_function(func: Callable[..., Any], name: str, url: str) -> Callable[..., Any]:
    """Returns a stand-in for a function that runs at `url`.

    It has the signature of `func`, for the type check, and raises `RunsElsewhere` when it is
    called. Raises `UrlNotAllowed`.
    """
    parse_url(url)

    @wraps(func)
    def stand_in(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise RunsElsewhere(name, url)

    return stand_in

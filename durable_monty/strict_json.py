"""Reads the bodies of requests as JSON in the strict sense of its standard."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from durable_monty.exceptions import BodyNotJson


def load_body(body: str | bytes) -> Any:
    """Returns the value in a body. Raises `BodyNotJson`, also for NaN and for numbers that are too
    large."""
    try:
        return json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as exc:
        raise BodyNotJson("it is nested too deep") from exc
    except ValueError as exc:  # UnicodeDecodeError is one
        raise BodyNotJson(str(exc).rstrip(".")) from exc


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:30]} is too large for a number")
    return number

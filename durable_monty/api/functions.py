"""Serves the list of functions that the workflows of a caller may call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import TypeAdapter

from durable_monty import operations
from durable_monty.api.callers import require
from durable_monty.api.schemas import ERRORS, FunctionsOut
from durable_monty.functions import FUNCTION_REGISTRY

router = Router(tags=["functions"])

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@router.get("/functions", response={200: FunctionsOut, **ERRORS})
def list_functions(request: HttpRequest) -> Any:
    """Lists the functions that workflows of the caller may call."""
    caller = require(request, "start", "start_execution")
    entries = [FUNCTION_REGISTRY[name] for name in sorted(operations.offered_to(caller.actor))]
    return {
        "items": [
            {
                "name": entry.name.rpartition(".")[2],
                "function": entry.name,
                "description": (entry.func.__doc__ or "").strip(),
                "executor": entry.executor,
                "parameters": parameters_schema(entry.func),
                "returns": returns_schema(entry.func),
            }
            for entry in entries
        ]
    }


def parameters_schema(func: Callable[..., Any]) -> dict[str, Any]:
    """Returns the schema of an object with a property for each parameter.

    It allows other properties if the function does, or if its signature is unknown.
    """
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):  # written in C
        return {"type": "object"}
    known = _globals(func)
    named = [each for each in signature.parameters.values() if each.kind not in _POSITIONAL]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {each.name: _schema(each.annotation, known) for each in named},
    }
    if required := [each.name for each in named if each.default is _EMPTY]:
        schema["required"] = required
    if len(named) == len(signature.parameters):
        schema["additionalProperties"] = False
    return schema


def returns_schema(func: Callable[..., Any]) -> dict[str, Any]:
    """Returns the schema of the result. An empty schema allows anything."""
    try:
        annotation = inspect.signature(func).return_annotation
    except (TypeError, ValueError):
        return {}
    return _schema(annotation, _globals(func))


def _schema(annotation: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of an annotation, or an empty one if the type is unknown here."""
    if annotation is _EMPTY:
        return {}
    try:
        if isinstance(annotation, str):
            annotation = eval(annotation, known)  # noqa: S307  (of the project's own code)
        return TypeAdapter(annotation).json_schema()
    except Exception:  # noqa: BLE001  (annotations can be any code, of any type)
        return {}


def _globals(func: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = getattr(inspect.unwrap(func), "__globals__", {})
    return found

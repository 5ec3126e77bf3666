"""Serves the list of functions that the workflows of a caller may call."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from durable_monty import operations
from durable_monty.api.callers import require
from durable_monty.api.function_schemas import parameters_schema, returns_schema
from durable_monty.api.schemas import ERRORS, FunctionsOut
from durable_monty.functions import FUNCTION_REGISTRY

router = Router(tags=["functions"])


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

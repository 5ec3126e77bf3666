"""Declares the globals of a workflow for the type checker of the sandbox.

The stubs say which values a workflow sees, after the codec: a UUID is a text, a dataclass a named
tuple, a pydantic model a dict. Every class of the stubs is hidden from the workflow.
"""

from durable_monty.stubs.context import Way
from durable_monty.stubs.guarded import guarded_names
from durable_monty.stubs.signatures import has_own_parameters, stubs_of

__all__ = ["Way", "guarded_names", "has_own_parameters", "stubs_of"]

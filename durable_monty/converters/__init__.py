"""Makes instances of annotated classes of the values that the codec has stored for them.

A dataclass or a named tuple has become a record, a pydantic model a dict, an Enum its value, a
UUID or a zone its text. People who answer calls give a dict for any of the first three.
"""

from durable_monty.converters.conversion import Conversion
from durable_monty.converters.misfit import Misfit

__all__ = ["Conversion", "Misfit"]

"""System checks: what is wrong with the settings in `msg`, what to do about it in `hint`.

None of them looks at the data or at migrations: an error here would stop `migrate` itself. What is
wrong with a workflow is an error only where nothing else depends on it, see `workflows`.
"""

from durable_monty.checks import databases, settings, workflows  # checks register themselves

__all__ = ["databases", "settings", "workflows"]

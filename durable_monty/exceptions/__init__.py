"""Every error that durable_monty raises to its callers.

Each takes the facts as arguments and owns its message; all derive from `DurableMontyError`.
"""

from durable_monty.exceptions.api import *
from durable_monty.exceptions.base import *
from durable_monty.exceptions.executions import *
from durable_monty.exceptions.executors import *
from durable_monty.exceptions.functions import *
from durable_monty.exceptions.sandbox import *
from durable_monty.exceptions.testing import *
from durable_monty.exceptions.workflow_registry import *
from durable_monty.exceptions.workflows import *

"""What the tests have Lambda's own runtime run: all functions in one, by the name in the event."""

from tests.engines import functions
from tests.engines.http_server import OTHER_NAMES


def handle(event, context):
    name = event["function"]
    function = getattr(functions, OTHER_NAMES.get(name, name), None)
    if function is None:
        raise LookupError(f"{name}() is unknown here")
    return function(*event["args"], **event["kwargs"])

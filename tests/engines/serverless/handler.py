import json
import time
from urllib.request import Request, urlopen


def total(event, context):
    return sum(event["args"])


def slow(event, context):
    time.sleep(30)


def later(event, context):
    """Posts its result to the webhook, as a function does that was invoked as an event."""
    answer = {"job_id": event["job_id"], "status": "finished", "result": sum(event["args"])}
    request = Request(
        event["callback_url"],
        json.dumps(answer).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urlopen(request, timeout=10):
        return "posted"

"""Another service answers a call, with one POST to a URL that is valid for this call alone."""

import json
import os
import sys
import threading
from pathlib import Path
from urllib.request import Request, urlopen
from wsgiref.simple_server import make_server

import django
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()
call_command("migrate", verbosity=0)

from durable_monty import OrchestratorService, register_function
from durable_monty.webhooks import waiting_call_url

CODE = """
payment = await pay(order, amount)
f"order {order}: paid {payment['paid']} by {payment['method']}"
"""


@register_function(executor="manual")
def pay(order: int, amount: int) -> dict[str, object]:
    """Is answered by the payment service."""
    raise NotImplementedError


def post_as_the_payment_service(url: str, paid: int) -> dict[str, object]:
    answer = {"status": "finished", "result": {"paid": paid, "method": "card"}}
    request = Request(url, json.dumps(answer).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:
        return dict(json.load(response))


def main() -> None:
    service = OrchestratorService()
    execution_id = service.start_execution(CODE, ["pay"], {"order": 1047, "amount": 80})
    service.process_execution(execution_id)
    (call,) = service.get_pending_calls(execution_id)
    # The project's own server, whose URLs include `durable_monty.urls`.
    with make_server("127.0.0.1", 0, get_wsgi_application()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base_url = f"http://127.0.0.1:{server.server_port}"
        url = waiting_call_url(execution_id, call["call_id"], base_url)
        print("first answer:", post_as_the_payment_service(url, paid=80))
        print("sent again:", post_as_the_payment_service(url, paid=80))
        server.shutdown()
    service.process_execution(execution_id)
    print("result:", service.get_result(execution_id))


if __name__ == "__main__":
    main()

"""A shop's afternoon, for the screenshots: the same one each time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from durable_monty import (
    FUNCTION_REGISTRY,
    OrchestratorService,
    Retry,
    operations,
    register_function,
)
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.models.clock import database_now
from tests.support import advance, run, work

REFUND = """
from asyncio import gather, sleep

order, complaints = await gather(load_order(number), count_complaints(number))
if order["total"] < 50 and complaints == 0:
    approved = True
else:
    approved = await approve_refund(number, order["total"], reason)
if approved:
    await pay_back(number, order["total"])
    print(f"order {number}: {order['total']} EUR paid back")
    await sleep(7 * 24 * 3600)
    await ask_for_feedback(number)
{"number": number, "refunded": approved}
"""

CHECKOUT = """
from asyncio import gather

order = await load_order(number)
receipt = await charge_card(number, order["total"])
await gather(send_invoice(number, receipt), pack_parcel(number))
print(f"order {number} is on its way")
receipt
"""

REPORT = """
totals = [(await load_order(number))["total"] for number in numbers]
sum(totals)
"""


@register_function("load_order")
def load_order(number: int) -> dict[str, Any]:
    return {"number": number, "total": 30 + number % 60}


@register_function("count_complaints")
def count_complaints(number: int) -> int:
    return number % 3


@register_function("approve_refund", executor="manual")
def approve_refund(number: int, total: int, reason: str) -> bool:
    """May this customer have the money back?

    Up to 100 EUR you decide alone. The customer reads your reason.
    """
    raise NotImplementedError


class CardDeclined(Exception):
    pass


class ServiceUnavailable(Exception):
    pass


@register_function(
    "charge_card", retry=Retry(max_attempts=5, initial=600, non_retryable=(CardDeclined,))
)
def charge_card(number: int, total: int) -> str:
    if number % 10 == 7:
        raise CardDeclined("not enough money")
    if number % 10 == 9:
        raise ServiceUnavailable("the bank answers with 503")
    return f"receipt-{number}"


@register_function("pay_back")
def pay_back(number: int, total: int) -> None: ...


@register_function("ask_for_feedback")
def ask_for_feedback(number: int) -> None: ...


@register_function("send_invoice")
def send_invoice(number: int, receipt: str) -> None: ...


@register_function("pack_parcel")
def pack_parcel(number: int) -> None: ...


_CHECKOUT = ["load_order", "charge_card", "send_invoice", "pack_parcel"]
_REFUND = ["load_order", "count_complaints", "approve_refund", "pay_back", "ask_for_feedback"]
_REASONS = (
    "the parcel was wet",
    "two sizes too small",
    "it came a week late",
    "broken on arrival",
)


def tell() -> None:
    """Fills an empty database. The workflows are really run; then they are moved back in time."""
    chance = random.Random(7)
    for name in set(FUNCTION_REGISTRY) - set(_SERVED) - {"approve_refund"}:
        FUNCTION_REGISTRY.remove(name)
    worker = operations.register_worker("django_q", _SERVED, using="default")
    operations.register_worker("django_q", _SERVED, using="default")
    for number in range(1000, 1090):
        name, source, functions = "checkout", CHECKOUT, _CHECKOUT
        inputs: dict[str, Any] = {"number": number}
        if number % 9 == 0:
            name, source, functions = "daily report", REPORT, ["load_order"]
            inputs = {"numbers": list(range(number, number + 5))}
        _move(run(source, functions, inputs, name=name), _ago(chance, 58), chance)
    for number in range(2001, 2006):
        _refund(number, chance)
    _answered(2010, "a loyal customer")
    _forked(2011)
    _stopped()
    OrchestratorService().start_execution(CHECKOUT, _CHECKOUT, {"number": 1090}, name="checkout")
    _run_one(worker)
    WorkerProcess.objects.update(host="shop-1", pid=F("pk") + 4100, version="0.1.0")


def beat() -> None:
    """The workers are alive when the pages are looked at."""
    now = database_now("default")
    WorkerProcess.objects.update(
        heartbeat_at=now - timedelta(seconds=2), started_at=now - timedelta(hours=6)
    )


_SERVED = sorted({*_CHECKOUT, *_REFUND} - {"approve_refund"})


def _refund(number: int, chance: random.Random) -> None:
    inputs = {"number": number, "reason": _REASONS[number % len(_REASONS)]}
    execution = run(REFUND, _REFUND, inputs, name="refund", key=f"refund {number}")
    _move(execution, _ago(chance, 50), chance)


def _answered(number: int, why: str) -> None:
    """Paid back, and asleep for a week."""
    inputs = {"number": number, "reason": _REASONS[0]}
    execution = run(REFUND, _REFUND, inputs, name="refund", key=f"refund {number}")
    OrchestratorService().complete_call(execution.pk, 2, True, reason=why)
    work()


def _forked(number: int) -> None:
    """Refused at first; then somebody thought better of it."""
    inputs = {"number": number, "reason": _REASONS[2]}
    service = OrchestratorService()
    execution = run(REFUND, _REFUND, inputs, name="refund", key=f"refund {number}")
    service.complete_call(execution.pk, 2, False, reason="no complaints so far")
    work()
    service.fork_execution(execution.pk, 2, answers={2: True})
    work()


def _stopped() -> None:
    service = OrchestratorService()
    for number, stop in ((2021, service.pause_execution), (2022, service.terminate_execution)):
        inputs = {"number": number, "reason": _REASONS[1]}
        execution_id = service.start_execution(REFUND, _REFUND, inputs, name="refund")
        advance(execution_id)
        stop(execution_id, "the customer called")


def _run_one(worker: int) -> None:
    """A call that runs now."""
    service = OrchestratorService()
    execution_id = service.start_execution(CHECKOUT, _CHECKOUT, {"number": 1092}, name="checkout")
    advance(execution_id)
    claimed = operations.claim_calls(_SERVED, ["default"], 1, using="default", worker_id=worker)
    operations.start_attempts(claimed, using="default")


def _ago(chance: random.Random, minutes: int) -> datetime:
    return database_now("default") - timedelta(seconds=chance.randrange(60, minutes * 60))


def _move(execution: Execution, begins: datetime, chance: random.Random) -> None:
    """To where it would have been, had it begun at that time and taken a while."""
    steps = 2 + chance.expovariate(1 / 12)
    by = execution.created_at - begins
    stretched = timedelta(seconds=steps)
    rows = Execution.objects.filter(pk=execution.pk)
    rows.update(created_at=F("created_at") - by, started_at=F("started_at") - by)
    rows.exclude(finished_at=None).update(finished_at=F("finished_at") - by + stretched)
    calls = Call.objects.filter(execution=execution)
    calls.update(created_at=F("created_at") - by)
    calls.exclude(finished_at=None).update(finished_at=F("finished_at") - by + stretched / 2)

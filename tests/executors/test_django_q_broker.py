"""The call table as django-q2's broker."""

import pytest
from django.db import InternalError, OperationalError
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from durable_monty.executors.django_q import (
    CallBroker,
    SharedBroker,
    broker as broker_module,
    run_task,
)
from durable_monty.executors.django_q.channels import Bell
from durable_monty.models import Call
from tests.support import started_call

pytestmark = pytest.mark.django_db(transaction=True)


def test_dequeue_gives_signed_ids_and_no_more():
    call = started_call()
    broker = CallBroker()
    ((ack_id, package),) = broker.dequeue()
    task = SignedPackage.loads(package)
    call.refresh_from_db()
    assert ack_id == f"call-{call.pk}"
    assert task["func"] is run_task
    assert task["args"] == ([call.pk], call.claim.hex, "default")
    assert (task["kwargs"], task["save"], task["ack_failure"]) == ({}, False, True)
    assert broker.dequeue() is None
    broker.acknowledge(ack_id)
    broker.fail(ack_id)
    assert Call.objects.get(pk=call.pk).claim == call.claim


@pytest.mark.parametrize("error", [OperationalError, InternalError, LookupError])
def test_dequeue_survives_any_error(monkeypatch, log, error):
    started_call()
    broker = CallBroker()
    monkeypatch.setattr(broker_module.time, "sleep", lambda seconds: None)
    with monkeypatch.context() as patch:

        def claim_calls(*args, **kwargs):
            raise error("the server closed the connection")

        patch.setattr(broker_module, "claim_calls", claim_calls)
        assert broker.dequeue() is None
        assert broker.dequeue() is None
    told = f"{error.__name__}: the server closed the connection"
    assert log.messages == [
        f"Claiming calls failed and will be tried again in 0.1 s: {told}",
        f"Claiming calls failed and will be tried again in 0.2 s: {told}",
    ]
    assert len(broker.dequeue()) == 1


def test_calls_are_not_looked_for_again_before_the_bell(monkeypatch):
    """That look would keep the workers from the database for which they wait."""
    claims = []

    def claim_calls(*args, **kwargs):
        claims.append(claim(*args, **kwargs))
        return claims[-1]

    claim = broker_module.claim_calls
    monkeypatch.setattr(broker_module, "claim_calls", claim_calls)
    broker = CallBroker()
    broker.calls_came = Bell()
    started_call()
    assert len(broker.dequeue()) == 1
    started_call()
    broker.calls_came.ring()
    assert broker.dequeue() is None
    assert len(claims) == 1
    assert len(broker.dequeue()) == 1
    # One that nobody rang for is found all the same.
    started_call()
    assert broker.dequeue() is None
    assert len(broker.dequeue()) == 1
    assert [len(claimed) for claimed in claims] == [1, 1, 1]


def test_the_broker_counts_find_due():
    broker = CallBroker()
    assert broker.queue_size() == 0
    started_call()
    assert (broker.queue_size(), broker.lock_size(), broker.ping()) == (1, 0, True)
    assert broker.info() == "durable_monty"


def test_what_the_scheduler_puts_goes_to_the_projects_own_broker(monkeypatch):
    CallBroker().enqueue("package")
    assert OrmQ.objects.get().payload == "package"
    monkeypatch.setattr(Conf, "BROKER_CLASS", "durable_monty.executors.django_q.CallBroker")
    with pytest.raises(TypeError, match=r"CallBroker takes no tasks\. Set Q_CLUSTER"):
        CallBroker().enqueue("package")


def test_the_shared_broker_serves_calls_first():
    started_call()
    broker = SharedBroker()
    key = broker.enqueue("package")
    ((ack_id, _package),) = broker.dequeue()
    assert str(ack_id).startswith("call-")
    assert broker.dequeue() == [(key, "package")]
    broker.acknowledge(key)
    assert not OrmQ.objects.exists()
    assert broker.dequeue() is None

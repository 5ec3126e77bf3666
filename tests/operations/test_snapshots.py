"""A snapshot is a cache: whatever is wrong with it, the execution goes on from its journal."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from durable_monty.engine.interpreters import Interpreters
from durable_monty.exceptions import HostFault
from durable_monty.models import Execution, Program, Snapshot
from durable_monty.operations import run as module
from durable_monty.sandbox import Interpreter, pack, replay, unpack
from tests.support import SEVEN_CALLS, run, work

pytestmark = pytest.mark.django_db

TAKE = Interpreters.take
SOURCE = """
total = 0
for step in range(3):
    print("step", step)
    total += await approve(step)
total
"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """Each turn is run as in another process, which has no live interpreter."""
    monkeypatch.setattr(Interpreters, "take", lambda self, execution_id, turn: None)


@pytest.fixture
def execution(service):
    """In its second turn of four, waiting for a person."""
    run(SOURCE, ["approve"])  # the first one of a program makes its dictionary
    Execution.objects.all().delete()
    execution = run(SOURCE, ["approve"])
    service.complete_call(execution.pk, 0, 100)
    work()
    return Execution.objects.get(pk=execution.pk)


def change_dump(snapshot, change, *, sign):
    """Writes other bytes into a snapshot, with or without a fitting signature."""
    packed = pack(change(dump_of(snapshot)), dictionary())
    snapshot.data, snapshot.size = packed.data, packed.size
    if sign:
        snapshot.sign(packed.digest)
    snapshot.save()


def dictionary():
    return bytes(Program.objects.get().dictionary)


def dump_of(snapshot):
    return unpack(bytes(snapshot.data), snapshot.size, dictionary())[0]


def truncate(snapshot):
    snapshot.data = bytes(snapshot.data)[:-20]
    snapshot.save()


def corrupt(snapshot):
    data = bytearray(snapshot.data)
    data[len(data) // 2] ^= 0xFF
    snapshot.data = bytes(data)
    snapshot.save()


def bomb(snapshot):
    snapshot.data = pack(bytes(50_000_000)).data
    snapshot.save()


DAMAGES = {
    "missing": (lambda snapshot: snapshot.delete(), None),
    "truncated": (truncate, "snapshot cannot be used"),
    "corrupted": (corrupt, "snapshot cannot be used"),
    "bomb": (bomb, "snapshot cannot be used"),
    "huge size": (lambda s: Snapshot.objects.update(size=10**9), "it claims a size of"),
    "other dictionary": (
        lambda s: Program.objects.update(dictionary=dictionary()[:-1] + b"?"),
        "the dictionary that it needs is gone",
    ),
    "no dictionary": (
        lambda s: Program.objects.update(dictionary=None),
        "the dictionary that it needs is gone",
    ),
    "unsigned": (lambda s: Snapshot.objects.update(signature=""), "signature does not fit"),
    "changed bytes": (
        lambda s: change_dump(s, lambda dump: dump[:-1] + b"\0", sign=False),
        "signature does not fit",
    ),
    "of another turn": (lambda s: Snapshot.objects.update(turn=1), "signature does not fit"),
    "too new": (
        lambda s: change_dump(s, lambda dump: dump[:6] + b"\x63\0" + dump[8:], sign=True),
        "dump format version 99 is newer",
    ),
    "signed rubbish": (
        lambda s: change_dump(s, lambda dump: b"rubbish", sign=True),
        "not a monty dump",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_unusable_snapshot_is_replaced_by_replay(service, execution, log, damage):
    hurt, why = DAMAGES[damage]
    hurt(execution.snapshot)
    service.complete_call(execution.pk, 1, 20)
    work()
    service.complete_call(execution.pk, 2, 3)
    work()
    assert service.get_result(execution.pk) == 123
    assert Execution.objects.get(pk=execution.pk).log == "step 0\nstep 1\nstep 2\n"
    warnings = [record for record in log.records if record.levelname == "WARNING"]
    assert len(warnings) == (why is not None)
    if why:
        assert why in warnings[0].reason


def test_snapshot_of_another_execution_is_refused(service, execution, log):
    other = run(SOURCE.replace("+=", "-="), ["approve"])
    service.complete_call(other.pk, 0, 100)
    work()
    stolen = Snapshot.objects.get(execution=other.pk)
    Snapshot.objects.filter(execution=execution).update(
        data=stolen.data, size=stolen.size, signature=stolen.signature
    )
    for call_id, value in [(1, 20), (2, 3)]:
        service.complete_call(execution.pk, call_id, value)
        work()
    assert service.get_result(execution.pk) == 123


def test_retired_key_still_verifies(service, execution, settings):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "rotated"
    snapshot = execution.snapshot
    snapshot.verify(hashlib.sha256(dump_of(snapshot)).hexdigest())


def test_failed_dump_leaves_the_journal(service, execution, monkeypatch, log):
    def refuse(self):
        raise HostFault("no room")

    monkeypatch.setattr(Interpreter, "dump", refuse)
    service.complete_call(execution.pk, 1, 20)
    work()
    assert Snapshot.objects.get().turn == 2  # the one before: the turn since is replayed
    monkeypatch.undo()
    service.complete_call(execution.pk, 2, 3)
    work()
    assert service.get_result(execution.pk) == 123
    assert f"no snapshot: execution {execution.pk} (unnamed), turn 3: no room" in log.messages


def test_older_snapshot_needs_only_the_later_turns(service, execution, monkeypatch):
    """As when a commit leaves the snapshot out: the turns after it are replayed upon it."""
    old = Snapshot.objects.get()
    service.complete_call(execution.pk, 1, 20)
    work()
    Snapshot.objects.all().delete()
    old.save(force_insert=True)
    replayed = []

    def spy(workflow, journal, *args, **options):
        replayed.extend(turn.turn for turn in journal)
        return replay(workflow, journal, *args, **options)

    monkeypatch.setattr(module, "replay", spy)
    service.complete_call(execution.pk, 2, 3)
    work()
    assert service.get_result(execution.pk) == 123
    assert replayed == [3]
    # Full replay must load where this run did.
    assert execution.calls.get(call_id=1).after_load is True


def test_mismatch_pauses_and_resume_tries_again(service, execution, log):
    call = execution.calls.get(call_id=0)
    execution.calls.filter(pk=call.pk).update(args="[999]")
    execution.snapshot.delete()
    service.complete_call(execution.pk, 1, 20)
    work()
    paused = Execution.objects.get(pk=execution.pk)
    assert (paused.status, paused.error_type, paused.due_at) == ("paused", "ReplayMismatch", None)
    assert paused.error_message == (
        "Replay differs from the journal at turn 1, call 0: recorded approve [999] {}, "
        "replayed approve [0] {}."
    )
    assert paused.calls.get(call_id=1).delivered_turn is None
    # An answer for a paused execution is recorded all the same.
    execution.calls.filter(pk=call.pk).update(args="[0]")
    service.resume_execution(execution.pk)
    work()
    service.complete_call(execution.pk, 2, 3)
    work()
    assert service.get_result(execution.pk) == 123


@pytest.mark.parametrize("live", [[], [1], [0, 1, 2]])
def test_program_that_reads_addresses_replays_from_where_it_was_loaded(service, monkeypatch, live):
    source = """
class Thing: pass
seen = []
for step in range(4):
    seen.append(str(Thing()))
    await approve(step)
len(set(seen))
"""
    execution = run(source, ["approve"])
    for step in range(3):
        service.complete_call(execution.pk, step, None)
        with monkeypatch.context() as patched:
            if step in live:
                patched.setattr(Interpreters, "take", TAKE)
            work()
    Snapshot.objects.all().delete()
    service.complete_call(execution.pk, 3, None)
    work()
    assert service.poll(execution.pk)["status"] == "completed"


def test_snapshot_ahead_of_its_execution_is_left_alone(service, execution):
    """As after a restore of some tables from an older backup."""
    snapshot = execution.snapshot
    service.complete_call(execution.pk, 1, 20)
    work()
    ahead = Snapshot.objects.get()
    execution.calls.filter(call_id=2).delete()
    execution.calls.filter(call_id=1).update(delivered_turn=None, after_load=False)
    Execution.objects.filter(pk=execution.pk).update(
        turn=snapshot.turn, call_count=2, due_at=execution.created_at
    )
    assert ahead.turn == snapshot.turn + 1
    work()
    service.complete_call(execution.pk, 2, 3)
    work()
    assert service.get_result(execution.pk) == 123


def test_snapshots_are_small(service):
    """The median of those of seven-call workflows; the first of a program is stored whole."""
    source = SEVEN_CALLS.replace("add(", "approve(").replace("double(", "approve(")
    sizes = []
    for x in range(4):
        execution = run(source, ["approve"], {"x": x})
        for step in (range(3), range(3, 6)):
            sizes.append(len(Snapshot.objects.get(pk=execution.pk).data))
            for call_id in step:
                service.complete_call(execution.pk, call_id, 1)
            work()
    assert sorted(sizes)[len(sizes) // 2] <= 400
    assert sizes[0] > 400


def test_dictionary_says_nothing_of_the_inputs(service):
    order = {"number": 4711, "Jane Doe": "vip", "secret": ["confidential"]}
    inputs = {"order": order, "name": "Jane Doe", "tags": ["confidential"]}
    run("await approve(order['number'])", ["approve"], inputs)
    for secret in (b"Jane", b"confidential", b"4711", b"vip", b"secret"):
        assert secret not in dictionary()
    assert b"number" in dictionary()  # the source says it


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("await approve(value['total'])", {"total": 80}),
        ("await approve(value['order-id'], value['due on'])", {"order-id": 8, "due on": "May"}),
        ('await approve([row["it\'s"] for row in value.values()])', {"row": {"it's": 1}}),
        ("await approve(value['lines'][0]['price'])", {"lines": [{"price": 1}, {"price": 2}]}),
        ("a, b = value\nawait approve(a + b)", (1, 2)),
        ("from datetime import timedelta\nawait approve(value + timedelta(1))", date(2026, 1, 2)),
        (
            "from datetime import datetime, timezone\n"
            "await approve(datetime.now(timezone.utc) - value)",
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
        ("await approve(value * 2)", Decimal("1.5")),
        ("await approve(1 in value)", {1, 2}),
    ],
)
def test_inputs_of_every_shape_make_a_dictionary(source, value):
    run(source, ["approve"], {"value": value})
    Execution.objects.all().delete()
    run(source, ["approve"], {"value": value})
    assert len(Snapshot.objects.get().data) < 400


def test_wide_gather_is_not_written_again_for_each_answer(service):
    source = "from asyncio import gather\nlen(await gather(*[approve(i) for i in range(100)]))"
    execution = run(source, ["approve"])
    turns = set()
    for call_id in range(12):
        service.complete_call(execution.pk, call_id, None)
        work()
        turns |= {*Snapshot.objects.values_list("turn", flat=True)}
    assert turns == {8}
    for call_id in range(12, 100):
        service.complete_call(execution.pk, call_id, None)
    work()
    assert service.get_result(execution.pk) == 100

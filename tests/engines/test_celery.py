"""The Celery executor beside its engine: options, what workers store, jobs that vanish."""

import time
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from durable_monty.exceptions import ExecutorUnavailable, JobsVanished
from durable_monty.executors.loading import make_executor
from tests.documents import ROOT, forget_modules, of_language
from tests.postgresql import free_port
from tests.support import claimed_call

pytest.importorskip("celery")

from celery import Celery

from durable_monty.executors.celery import CeleryExecutor, presence as presence_module
from durable_monty.executors.celery.presence import JobPresence
from durable_monty.executors.celery.results import (
    RedisResults,
    is_lost,
    job_status,
    results_of,
)

JOB = f"17-{uuid.UUID(int=5).hex}"
app = Celery("shop", broker="memory://", set_as_current=False)


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either app or broker, and backend only beside broker"),
        ({"app": app, "broker": "redis://"}, "give either app or broker"),
        ({"broker": "memory://", "mode": "async"}, "mode is 'async'; use 'django' or 'result'"),
        ({"app": 3}, "app is 3; it must be a Celery app or its dotted path"),
        ({"app": "tests.engines.nowhere:app"}, "there is no such Celery app"),
        ({"app": "tests.engines.test_celery:nothing"}, "there is no such Celery app"),
        ({"app": "tests.engines.test_celery:JOB"}, "it must be a Celery app or its dotted path"),
    ],
)
def test_options_that_make_no_sense(durable_settings, options, message):
    durable_settings(EXECUTORS={"celery": options})
    with pytest.raises(ImproperlyConfigured) as raised:
        make_executor("celery")
    assert message in str(raised.value)


def test_an_app_by_its_path(durable_settings):
    durable_settings(EXECUTORS={"celery": {"app": "tests.engines.test_celery:app"}})
    assert make_executor("celery").app is app


def test_results_need_a_backend():
    executor = CeleryExecutor(app, mode="result")
    with pytest.raises(ImproperlyConfigured) as raised:
        executor.start("default", None)
    assert "needs a result backend: set result_backend in the Celery app 'shop'" in str(
        raised.value
    )


def test_results_are_never_pickles():
    pickling = Celery("p", broker="memory://", backend="cache+memory://", set_as_current=False)
    pickling.conf.result_serializer = "pickle"
    with pytest.raises(ImproperlyConfigured, match="result_serializer is 'pickle'"):
        results_of(pickling, "default")


def test_projects_on_one_broker_have_result_queues_of_their_own(settings):
    rpc = Celery("p", broker="memory://", backend="rpc://", set_as_current=False)
    ours = results_of(rpc, "default").reply_to
    assert results_of(rpc, "default").reply_to == ours
    settings.SECRET_KEY = "another"
    assert results_of(rpc, "default").reply_to != ours


def test_channels_of_our_jobs_alone():
    redis = Celery("p", backend="redis://127.0.0.1:1/0", set_as_current=False)
    redis.conf.result_backend_transport_options = {"global_keyprefix": "shop[1]"}
    results = results_of(redis, "default")
    assert isinstance(results, RedisResults)
    assert results.channels == r"shop\[1\]_celery-task-meta-[0-9]*-" + 32 * "?"


# --- a broker that is away ---


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"])
@pytest.mark.django_db
def test_a_broker_that_is_away_at_submit(url):
    executor = CeleryExecutor(broker=url.format(free_port()))
    call, _claimed = claimed_call()
    call.refresh_from_db()
    began = time.monotonic()
    with pytest.raises(ExecutorUnavailable) as raised:
        executor.submit_call(call)
    assert time.monotonic() - began < 5
    assert "The executor 'celery' cannot reach its engine: " in str(raised.value)


def test_a_result_backend_that_is_away():
    port = free_port()
    away = Celery("p", backend=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    began = time.monotonic()
    with pytest.raises(ExecutorUnavailable):
        results_of(away, "default").find(JOB)
    assert time.monotonic() - began < 5


# --- what workers store ---


def failure(kind, message, traceback="", module="builtins"):
    result = {"exc_type": kind, "exc_message": message, "exc_module": module}
    return {"status": "FAILURE", "result": result, "traceback": traceback}


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"status": "SUCCESS", "result": [1]}, {"status": "finished", "result": [1]}),
        (failure("ValueError", ["no", 2]), ("ValueError", "no, 2", False)),
        (failure("KeyError", ["a"], "Traceback (most recent call last):\nKeyError: 'a'\n"),
         ("KeyError", "'a'", False)),
        (failure("Shop.Closed", ["at 6"], module="shop.errors"),
         ("shop.errors.Closed", "at 6", False)),
        (failure("EncodeError", ["no JSON"], module="kombu.exceptions"),
         ("TypeError", "price() returned what cannot be stored: no JSON", True)),
        (failure("TimeLimitExceeded", [30], module="billiard.exceptions"),
         ("TimeoutError", "price() overran its time limit in Celery.", False)),
        (failure("NotRegistered", ["shop.price"], module="celery.exceptions"),
         ("RuntimeError", "Celery's workers have no task 'shop.price'. Name the task as the "
          "function's dotted path, and have the workers import its module.", False)),
        ({"status": "REVOKED", "result": None},
         ("RuntimeError", "The task was revoked in Celery.", True)),
        ({"status": "FAILURE", "result": "odd"}, ("RuntimeError", "odd", False)),
    ],
)  # fmt: skip
def test_ends_of_tasks(meta, expected):
    found = job_status(meta, "price")
    if isinstance(expected, tuple):
        names = ("error_type", "error", "is_final")
        assert found["status"] == "failed"
        found = tuple(found[name] for name in names)
    assert found == expected


def test_ends_that_say_nothing_of_the_function():
    killed = failure("WorkerLostError", ["signal 9"], module="billiard.exceptions")
    frame = '  File "celery/backends/base.py", line 294, in mark_as_done\n    self.store()\n'
    unstored = failure("ConnectionError", ["refused"], f"Traceback:\n{frame}ConnectionError")
    assert is_lost(killed)
    assert is_lost(unstored)
    assert not is_lost(failure("ConnectionError", ["refused"], "Traceback:\nConnectionError"))
    assert not is_lost(failure("EncodeError", ["no JSON"], unstored["traceback"]))
    assert not is_lost({"status": "SUCCESS", "result": None})


# --- jobs that vanish ---


@pytest.fixture
def presence(monkeypatch, durable_settings):
    """Knows of a queue's length and of the jobs in workers what the test says."""
    durable_settings(LEASE=60)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    made = JobPresence(app, poll=5)
    made.length, made.in_workers = 0, set()
    monkeypatch.setattr(made._broker, "length", lambda queue: made.length)
    monkeypatch.setattr(made._broker, "in_workers", lambda job_ids: made.in_workers & set(job_ids))
    looks = []
    monkeypatch.setattr(
        presence_module, "keep_running", lambda *_: looks.append(1)
    )  # not in a thread

    def ask(job_id, seconds):
        """Asks now and then, for so long; gives the last answer."""
        for _ in range(int(seconds / 5)):
            clock[0] += 5
            found = made.has(job_id, lambda job_id: "q")
            if looks:
                looks.clear()
                made._search()
        return found

    made.ask = ask
    return made


@pytest.mark.django_db
def test_a_call_whose_jobs_vanish_fails(monkeypatch):
    executor = CeleryExecutor(app)
    monkeypatch.setattr(executor._broker, "send_task", lambda *args, **options: "celery")
    monkeypatch.setattr(executor._presence, "has", lambda job_id, queue_of: False)
    call, _claimed = claimed_call()
    call.claim = uuid.uuid4()
    for _ in range(3):
        call.claim = uuid.uuid4()
        job_id = executor.submit_call(call)
        assert not executor.is_queued(job_id)
        assert not executor.is_queued(job_id)
    with pytest.raises(JobsVanished) as raised:
        executor.submit_call(call)
    assert str(raised.value) == (
        "The engine lost 3 jobs of this call before they began. Do the workers of the queue "
        "'celery' have the task 'durable_monty.run_call'?"
    )
    executor.submit_call(call)  # the next attempt begins to count anew


def test_what_waits_in_a_queue_is_there(presence):
    presence.length = 1
    presence.sent(JOB, "q")
    assert presence.ask(JOB, 600)


def test_what_a_worker_has_is_there(presence):
    presence.in_workers = {JOB}
    presence.sent(JOB, "q")
    assert presence.ask(JOB, 600)


def test_what_is_nowhere_is_gone_after_a_lease(presence):
    presence.sent(JOB, "q")
    assert presence.ask(JOB, 60)
    assert not presence.ask(JOB, 30)


def test_what_is_found_again_is_there(presence):
    presence.sent(JOB, "q")
    presence.ask(JOB, 60)
    presence.in_workers = {JOB}
    assert presence.ask(JOB, 600)


def test_what_was_sent_before_one_that_has_left_the_queue_is_not_in_it(presence):
    presence.length = 1
    presence.sent(JOB, "q")
    presence.ask(JOB, 5)
    presence.sent("18-x", "q")
    presence.ended("18-x")
    assert not presence.ask(JOB, 100)


def test_one_that_was_revoked_may_still_be_in_the_queue(presence):
    presence.length = 1
    presence.sent(JOB, "q")
    presence.ask(JOB, 5)
    presence.sent("18-x", "q")
    presence.revoked("18-x")
    assert presence.ask(JOB, 600)


def test_a_broker_that_cannot_be_asked_says_nothing(presence, monkeypatch):
    def away(queue):
        raise ExecutorUnavailable("celery", "refused")

    monkeypatch.setattr(presence._broker, "length", away)
    presence.sent(JOB, "q")
    assert presence.ask(JOB, 600)


# --- the document ---


@pytest.mark.django_db
def test_the_apps_of_the_document(tmp_path, monkeypatch, durable_settings, settings):
    """They are written as the document has them, and imported: the executor finds the first, and
    their tasks have the names that it sends."""
    document = ROOT / "durable_monty" / "docs" / "how-to" / "celery.md"
    apps = [block.text for block in of_language(document, "text") if "Celery(" in block.text]
    settings.CELERY_BROKER_URL = "memory://"
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    monkeypatch.syspath_prepend(tmp_path)
    for text in apps:
        path = tmp_path / text.partition(" ")[2].split()[0].rstrip(",").replace("shop/", "shop_/")
        path.parent.mkdir()
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    try:
        durable_settings(EXECUTORS={"celery": {"app": "shop_.celery:app"}})
        shop = make_executor("celery").app
        shop.loader.import_default_modules()
        assert "durable_monty.run_call" in shop.tasks
        assert shop.conf.broker_url == "memory://"
        photos = import_string("photos.tasks.app")
        assert "shop.photos.shrink" in photos.tasks
        assert photos.tasks["shop.photos.shrink"]("tea", 80) == "tea-80.jpeg"
    finally:
        forget_modules(tmp_path)

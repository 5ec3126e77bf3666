"""One worker with several executors: a workflow awaits functions of all of them, and a person."""

import dataclasses
import importlib.util
import os
from contextlib import ExitStack

import pytest

from durable_monty import FUNCTION_REGISTRY, OrchestratorService
from durable_monty.executors.loading import executor_class
from durable_monty.executors.local import LocalExecutor
from durable_monty.models import Call
from tests.engines.conformance import SETTINGS, in_thread
from tests.engines.test_conformance import ENGINES, output_of, start
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

# Where each function runs, with what, and what comes of it.
PLACES = {
    "total": ("rq-result", "total(1, 2)", 3),
    "text_of": ("celery-rabbitmq-result", "text_of(4)", "xxxx"),
    "same": ("aws_lambda", "same('far away')", "far away"),
    "jot": ("http", "jot(path, 'noted')", "noted"),
}


@pytest.fixture
def places(tmp_path, durable_settings, monkeypatch, django_db_setup):
    """Those of `PLACES` whose engines are installed: the engines run, and the functions belong to
    their executors."""
    durable_settings(**SETTINGS)
    engines = {engine.name: engine for engine in ENGINES}
    found = {}
    if importlib.util.find_spec("rq") is None:
        pytest.skip("the extras are not installed")
    with ExitStack() as stack:
        for function, (name, code, expected) in PLACES.items():
            engine = engines.get(name)
            if engine is None or importlib.util.find_spec(engine.extra) is None:
                assert not os.environ.get("CI"), f"{name} is missing"
                continue
            directory = tmp_path / name
            directory.mkdir()
            stack.callback(engine.stop)
            try:
                engine.start(directory)
            except pytest.skip.Exception:
                continue
            entry = dataclasses.replace(FUNCTION_REGISTRY[function], executor=engine.executor)
            monkeypatch.setitem(FUNCTION_REGISTRY._functions, function, entry)
            found[function] = (engine, code, expected)
        if not found:
            pytest.skip("no engine is installed")
        yield found


def test_functions_of_several_executors_and_a_person(places, tmp_path):
    engines = [engine for engine, _code, _expected in places.values()]
    far = [executor_class(engine.executor)(**engine.options()) for engine in engines]
    calls = [code for _engine, code, _expected in places.values()]
    functions = ["add", "approve", *places]
    code = f"""
from asyncio import gather

await gather(add(1, 1), {", ".join(calls)}, approve("the sum"))
"""
    with in_thread(LocalExecutor(2), *far):
        execution_id = start(code, functions, path=str(tmp_path / "noted"))
        person = Call.objects.filter(function="approve")
        until(person.exists, "a person is asked")
        others = Call.objects.exclude(function="approve").filter(finished_at=None)
        until(lambda: not others.exists(), "the others have their answers")
        OrchestratorService().complete_call(execution_id, person.get().call_id, True)
        expected = [value for _engine, _code, value in places.values()]
        assert output_of(execution_id) == [2, *expected, True]
    where = dict(Call.objects.values_list("function", "executor"))
    assert where == {
        "add": "default",
        "approve": "manual",
        **{function: engine.executor for function, (engine, *_rest) in places.items()},
    }

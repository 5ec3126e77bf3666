"""An answer that somebody gives for a function becomes what the function's annotation names."""

import enum
import json
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.test import Client

from durable_monty import operations
from durable_monty.exceptions import WrongResult
from durable_monty.models import Call, Execution
from durable_monty.operations.answer import Answer
from durable_monty.operations.attempts import start_attempts
from durable_monty.operations.job_answers import job_id_of, settle_job, settle_jobs
from durable_monty.testing import play
from durable_monty.webhooks import waiting_call_url
from tests.admin.pages import url_of
from tests.support import work

pytestmark = pytest.mark.django_db


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    quantity: int = 1


@dataclass
class Decision:
    amount: Decimal
    colour: Colour
    lines: list[Line]

    def __post_init__(self):
        if self.amount < 0:
            raise ValueError("the amount is negative")


CODE = """
decision = await decide()
[decision.amount, decision.colour, [[line.sku, line.quantity] for line in decision.lines]]
"""
GIVEN = {"amount": 5, "colour": "red", "lines": [{"sku": "a"}, {"sku": "b", "quantity": 2}]}
OUTPUT = [5, "red", [["a", 1], ["b", 2]]]
STORED = (
    '{"$named":["Decision",{"amount":5,"colour":"red","lines":['
    '{"$named":["Line",{"sku":"a","quantity":1}]},{"$named":["Line",{"sku":"b","quantity":2}]}]}]}'
)
MISSING = "decide(): result.lines[0] does not fit Line: the field 'sku' is missing."
WRONG = {**GIVEN, "lines": [{}]}


@pytest.fixture
def decide(register):
    def decide() -> Decision: ...

    register("decide", decide, executor="manual")


@pytest.fixture
def asked(service, decide):
    """An execution that waits for a decision."""
    execution_id = service.start_execution(CODE, ["decide"])
    work()
    return Execution.objects.get(pk=execution_id)


def result_of(service, execution):
    assert Call.objects.get(execution=execution).result == STORED
    work()
    return service.get_result(execution.pk)


@pytest.mark.parametrize(
    "given",
    [GIVEN, Decision(5, Colour.RED, [Line("a"), Line("b", 2)])],
    ids=["dict", "instance"],
)
def test_an_answer_of_the_service(service, asked, given):
    service.complete_call(asked.pk, 0, given)

    assert result_of(service, asked) == OUTPUT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (WRONG, MISSING),
        ({**GIVEN, "colour": "green"},
         "decide(): result.colour does not fit Colour: it is 'green'."),
        ({**GIVEN, "price": 1},
         "decide(): result does not fit Decision: there is no field 'price' (fields: amount, "
         "colour, lines)."),
        ("yes", "decide(): result does not fit Decision: it is 'yes'."),
        ({**GIVEN, "amount": -1}, "decide(): ValueError: the amount is negative."),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_changes_nothing(service, asked, given, message):
    with pytest.raises(WrongResult) as caught:
        service.complete_call(asked.pk, 0, given)

    assert str(caught.value) == message
    assert Call.objects.get().is_open


def test_none_is_an_answer(service, asked):
    service.complete_call(asked.pk, 0, None)

    assert Call.objects.get().result == "null"


def test_an_answer_of_the_form(service, asked, admin_client):
    call = Call.objects.get()
    fields = {"outcome": "complete", "error_message": "", "reason": ""}
    parts = {"result_amount": "5", "result_colour": '"red"'}

    response = admin_client.post(
        url_of(call), {**fields, **parts, "result_lines": json.dumps(WRONG["lines"])}
    )
    assert response.context["adminform"].errors == {"result_amount": [MISSING]}
    admin_client.post(
        url_of(call), {**fields, **parts, "result_lines": json.dumps(GIVEN["lines"])}
    )

    work()
    assert service.get_result(asked.pk) == OUTPUT


@pytest.mark.urls("tests.webhooks.urls")
def test_an_answer_to_the_url_of_the_call(service, asked):
    url = waiting_call_url(asked.pk, 0, base_url="")

    def post(result):
        body = json.dumps({"result": result})
        return Client().post(url, body, content_type="application/json")

    refused = post(WRONG)
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        {"code": "wrong_result", "message": MISSING},
    )
    assert [post(GIVEN).status_code, post(GIVEN).status_code] == [200, 200]
    assert result_of(service, asked) == OUTPUT


def test_an_edited_answer_of_a_fork(service, asked):
    fork = service.fork_execution(asked.pk, 1, answers={0: GIVEN}, key="edited")
    again = service.fork_execution(asked.pk, 1, answers={0: GIVEN}, key="edited")

    assert again == fork
    assert result_of(service, Execution.objects.get(pk=fork)) == OUTPUT
    with pytest.raises(WrongResult) as caught:
        service.fork_execution(asked.pk, 1, answers={0: WRONG})
    assert str(caught.value) == MISSING


@pytest.mark.parametrize("is_single", [True, False])
@pytest.mark.parametrize(("given", "output"), [(GIVEN, OUTPUT), (WRONG, None)])
def test_an_answer_of_another_engine(service, register, is_single, given, output):
    def decide() -> Decision: ...

    register("decide", decide, executor="elsewhere")
    execution_id = service.start_execution(CODE, ["decide"])
    service.process_execution(execution_id)
    (claimed,) = operations.claim_calls(["decide"], ["elsewhere"], 1, using="default")
    start_attempts([claimed], using="default")
    job_id = job_id_of(claimed)

    if is_single:
        settle_job(job_id, Answer(json.dumps(given)), using="default")
    else:
        settle_jobs([(job_id, {"status": "finished", "result": given})], using="default")
    work()

    if output:
        assert service.get_result(execution_id) == output
    else:
        assert service.poll(execution_id)["error"] == f"WrongResult: {MISSING}"
        assert Call.objects.get().raised_as == "TypeError"


def test_an_answer_of_a_test(decide):
    assert play(CODE, answers={"decide": GIVEN}).output == OUTPUT

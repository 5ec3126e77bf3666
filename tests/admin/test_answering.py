from datetime import timedelta

import pytest
from django.contrib.admin import ModelAdmin
from django.urls import reverse

from durable_monty import FUNCTION_REGISTRY, codec, operations, register_function
from durable_monty.exceptions import CallNotFound
from durable_monty.models import Call, Execution, WorkerProcess
from durable_monty.operations import register_worker
from tests.admin.pages import history, list_url, messages_of, text_of, url_of
from tests.support import work

GUARDED = """
try:
    answer = await approve("the budget")
except RuntimeError as error:
    answer = f"refused: {error}"
answer
"""


def answer(client, call, follow=True, **fields):
    data = {"outcome": "complete", "result": "", "error_message": "", "reason": "", **fields}
    return client.post(url_of(call), data, follow=follow)


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["adminform"].errors.items()}


def test_complete(asked, clerk):
    call = asked()

    response = answer(clerk, call, result="true", reason="There is <enough> money.")

    assert response.redirect_chain == [(url_of(call), 302)]
    assert messages_of(response) == [
        ("success", f'The answer to <a href="{url_of(call)}">approve #0</a> was recorded.')
    ]
    page = text_of(response)
    assert "Completed" in page
    assert "There is <enough> money." in page
    assert b'name="_save"' not in response.content
    call.refresh_from_db()
    assert (call.status, call.result, call.completed_by) == ("completed", "true", clerk.user)
    assert call.reason == "There is <enough> money."
    assert history() == [("clerk", "Completed by hand. Reason: There is <enough> money.")]

    assert call.execution.due_at is not None
    work()
    execution = Execution.objects.get()
    assert (execution.status, execution.output) == ("completed", "true")


def test_fail(asked, clerk):
    call = asked(GUARDED)

    response = answer(clerk, call, outcome="fail", result="true", error_message="no money")

    page = text_of(response)
    assert "RuntimeError" in page
    assert "no money" in page
    call.refresh_from_db()
    assert (call.status, call.result, call.reason) == ("failed", None, "")
    assert history() == [("clerk", "Failed by hand: no money")]
    work()
    assert codec.decode(Execution.objects.get().output) == "refused: no money"


def test_from_a_filtered_list_it_goes_back_there(asked, clerk):
    call = asked()

    response = clerk.post(
        f"{url_of(call)}?_changelist_filters=waiting%3Dperson",
        {"outcome": "complete", "result": "true", "error_message": "", "reason": ""},
    )

    assert response.url == list_url(Call, "?waiting=person")


def test_a_bool_is_yes_or_no_without_a_default(asked, clerk):
    call = asked()

    page = clerk.get(url_of(call)).content.decode()

    assert '<input type="radio" name="result" value="true"' in page
    assert '<input type="radio" name="result" value="false"' in page
    assert page.count("checked") == 1  # the outcome
    response = answer(clerk, call)
    assert errors_of(response) == {"result": ["This field is required."]}
    response = answer(clerk, call, result="maybe")
    assert errors_of(response) == {
        "result": ["Select a valid choice. maybe is not one of the available choices."]
    }
    assert Call.objects.get().is_open


@pytest.fixture
def doubled(asked):
    """A call that waits for a worker."""
    return asked("await double(2)", ["double"])


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("7", 7),
        (' {"a": [1, null, "x"]} ', {"a": [1, None, "x"]}),
        ('"text"', "text"),
        ('{"$set": [2, 1]}', {1, 2}),
        ("null", None),
    ],
)
def test_results_are_typed_as_json(doubled, clerk, typed, value):
    answer(clerk, doubled, result=typed, reason="by hand")

    assert codec.decode(Call.objects.get().result) == value


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("", "This field is required."),
        ("   ", "This field is required."),
        ("yes", "This is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"a": }', "This is not JSON: Expecting value: line 1 column 7 (char 6)"),
        ("NaN", "This is not JSON: The stored text has a bare NaN, which is not JSON."),
        (
            '{"a": ["\\ud800"]}',
            "This cannot be stored: result['a'][0]: lone surrogate at index 0, which the "
            "sandbox refuses.",
        ),
    ],
)
def test_what_cannot_be_a_result_is_an_error_of_the_form(doubled, clerk, typed, error):
    response = answer(clerk, doubled, result=typed, reason="by hand")

    assert errors_of(response) == {"result": [error]}
    assert error in text_of(response)
    assert Call.objects.get().is_open
    assert history() == []


def test_nesting_beyond_the_limit_is_an_error_of_the_form(doubled, clerk):
    for depth in (200, 100_000):
        response = answer(clerk, doubled, result="[" * depth + "]" * depth, reason="by hand")

        (error,) = errors_of(response)["result"]
        assert error.startswith(("This cannot be stored: result[0]", "This is not JSON: "))
    assert Call.objects.get().is_open


def test_a_value_over_the_limit_is_an_error_of_the_form(doubled, clerk, durable_settings):
    durable_settings(MAX_VALUE_BYTES=10)

    response = answer(clerk, doubled, result='"a longer text"', reason="by hand")

    (error,) = errors_of(response)["result"]
    assert error.startswith("This cannot be stored: result: ")
    assert error.endswith("at most 10 are allowed.")


def test_an_error_needs_a_message(asked, clerk):
    response = answer(clerk, asked(), outcome="fail", result="true")

    assert errors_of(response) == {"error_message": ["This field is required."]}


def test_who_answers_in_the_place_of_a_machine_says_why(doubled, clerk):
    response = answer(clerk, doubled, result="1")

    assert errors_of(response) == {"reason": ["This field is required."]}


def test_the_form_twice(asked, clerk):
    call = asked()
    answer(clerk, call, result="true", reason="first")

    response = answer(clerk, call, result="false", reason="second")

    assert messages_of(response) == [
        ("error", "Nothing was changed: approve #0 was already answered just now, by clerk.")
    ]
    call.refresh_from_db()
    assert (call.result, call.reason) == ("true", "first")
    assert history() == [("clerk", "Completed by hand. Reason: first")]


def test_a_call_that_was_settled_meanwhile(asked, clerk, service):
    call = asked()
    assert clerk.get(url_of(call)).status_code == 200
    service.complete_call(call.execution_id, call.call_id, False)

    response = answer(clerk, call, result="rubbish")

    assert messages_of(response) == [
        ("error", "Nothing was changed: approve #0 was already answered just now.")
    ]
    assert Call.objects.get().result == "false"
    assert history() == []


def test_a_call_that_is_settled_while_the_form_is_taken(asked, clerk, service, monkeypatch):
    call = asked()
    changeform_view = ModelAdmin.changeform_view

    def settled_first(*args, **kwargs):
        service.complete_call(call.execution_id, call.call_id, False)
        return changeform_view(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ModelAdmin, "changeform_view", settled_first)
        response = answer(clerk, call, follow=False, result="true")

    assert response.url == url_of(call)
    assert messages_of(clerk.get(response.url)) == [
        ("error", "Nothing was changed: approve #0 was already answered just now.")
    ]
    call.refresh_from_db()
    assert (call.result, call.completed_by) == ("false", None)
    assert history() == []


def test_a_call_that_is_gone_while_the_form_is_taken(asked, clerk, monkeypatch):
    call = asked()
    changeform_view = ModelAdmin.changeform_view

    def not_found(execution_id, call_id, *args, **kwargs):
        raise CallNotFound(execution_id, call_id)

    def gone_after(*args, **kwargs):
        try:
            return changeform_view(*args, **kwargs)
        except CallNotFound:
            Execution.objects.all().delete()
            raise

    with monkeypatch.context() as patch:
        patch.setattr(operations, "settle_by_hand", not_found)
        patch.setattr(ModelAdmin, "changeform_view", gone_after)
        response = answer(clerk, call, result="true")

    assert response.redirect_chain == [(reverse("admin:index"), 302)]
    assert messages_of(response) == [
        ("warning", f"call with ID “{call.pk}” doesn\u2019t exist. Perhaps it was deleted?")
    ]
    assert history() == []


def test_a_withdrawn_call(asked, clerk, move_clock):
    call = asked()
    Call.objects.update(status="cancelled", finished_at=call.created_at)
    move_clock(90)

    response = answer(clerk, call, result="true")

    assert messages_of(response) == [
        ("error", "Nothing was changed: approve #0 was withdrawn 1 min ago.")
    ]


def test_a_call_that_a_worker_runs_can_be_answered_over_its_head(doubled, clerk):
    worker = register_worker("local", ["double"], using="default")
    lease_ends = doubled.created_at + timedelta(minutes=1)
    Call.objects.update(
        status="submitted",
        worker=worker,
        attempt=2,
        started_at=doubled.created_at,
        due_at=lease_ends,
    )

    page = text_of(clerk.get(url_of(doubled)))
    answer(clerk, doubled, result="4", reason="It hangs.")

    assert f"Waits for attempt 2 on {WorkerProcess.objects.get()}." in page
    assert Call.objects.get().result == "4"


def test_the_page_says_what_is_asked(asked, clerk):
    page = text_of(clerk.get(url_of(asked("await approve(what='the budget')"))))

    assert "Answer a call" in page
    assert "Waits for a person." in page
    assert "approve(what: str) -> bool" in page
    assert 'what "the budget"' in page


def test_a_function_without_a_signature_or_arguments(asked, clerk):
    register_function("biggest", executor="manual")(max)
    try:
        page = text_of(clerk.get(url_of(asked("await biggest()", ["biggest"]))))
    finally:
        FUNCTION_REGISTRY.remove("biggest")

    assert "Arguments: - Execution:" in page
    assert "Function:" not in page


def test_arguments_beyond_the_parameters_are_numbered(asked, clerk):
    page = text_of(clerk.get(url_of(asked("await echo(1, 2, last=3)", ["echo"]))))

    assert "Arguments: 1 1 2 2 last 3" in page

import pytest
from django.forms import ModelForm
from django.urls import reverse

from durable_monty import Retry
from durable_monty.admin import pages
from durable_monty.models import Call
from tests.admin.conftest import VIEW
from tests.admin.pages import history, list_url, messages_of, text_of, url_of
from tests.support import run, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def mechanic(staff):
    return staff(*VIEW, "retry_call", "fork_execution", name="mechanic")


@pytest.fixture
def waiting(register):
    """A call that waits an hour for its second attempt."""
    register("flaky", lambda: 1 / 0, retry=Retry(2, initial=3600))
    run("await flaky()", ["flaky"])
    return Call.objects.get()


def do_all(client, name, calls, confirmed=True, **fields):
    data = {"action": name, "_selected_action": [call.pk for call in calls], **fields}
    if confirmed:
        data["confirmed"] = "yes"
    return client.post(list_url(Call), data)


def answer_all(client, calls, confirmed=True, **fields):
    answer = {"outcome": "complete", "result": "", "error_message": "", "reason": "", **fields}
    return do_all(client, "answer", calls, confirmed, **answer)


def message(client, response):
    return messages_of(client.get(response.url))


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["adminform"].errors.items()}


# --- retry now ---


def test_retry_now(waiting, mechanic):
    url = url_of(waiting, "retry")
    assert f'action="{url}"' in mechanic.get(url_of(waiting)).content.decode()

    response = mechanic.post(url)

    assert response.url == url_of(waiting)
    assert message(mechanic, response) == [
        ("success", f'<a href="{url_of(waiting)}">flaky #0</a> is tried now.')
    ]
    assert history() == [("mechanic", "Retried.")]
    page = mechanic.get(url_of(waiting)).content.decode()
    assert url not in page
    again = mechanic.post(url)
    assert message(mechanic, again) == [
        (
            "error",
            f"Call 0 of execution {waiting.execution_id} is pending, and does not wait for a "
            "retry. Nothing was changed.",
        )
    ]
    assert len(history()) == 1
    work()
    assert Call.objects.get().status == "failed"


@pytest.mark.parametrize("permissions", [VIEW, ("retry_call",), (*VIEW, "complete_call")])
def test_retrying_needs_its_permission(waiting, staff, permissions):
    client = staff(*permissions)

    assert client.post(url_of(waiting, "retry")).status_code == 403
    do_all(client, "retry", [waiting])
    assert Call.objects.get().due_at == waiting.due_at
    assert history() == []


def test_retrying_is_no_link(waiting, mechanic):
    assert mechanic.get(url_of(waiting, "retry")).status_code == 405
    assert mechanic.post(reverse("admin:durable_monty_call_retry", args=["x"])).status_code == 404


def test_retry_many(waiting, asked, mechanic):
    other = asked()

    response = do_all(mechanic, "retry", [waiting, other])

    assert message(mechanic, response) == [
        (
            "error",
            f"Call 0 of execution {other.execution_id} is pending, and does not wait for a "
            "retry. Nothing was changed.",
        ),
        ("success", "1 call is tried now."),
    ]


# --- fork from here ---


def test_a_call_leads_to_the_fork_that_asks_it_again(service, mechanic, viewer):
    execution = run("await add(1, 2)\nawait approve('it')", ["add", "approve"])
    answered, open_call = Call.objects.order_by("call_id")
    url = url_of(execution, "fork") + "?turn=1&amp;again=0"

    assert url in mechanic.get(url_of(answered)).content.decode()
    assert "/fork/" not in mechanic.get(url_of(open_call)).content.decode()
    assert "/fork/" not in viewer.get(url_of(answered)).content.decode()


# --- many answers ---


def test_answer_many(asked, clerk):
    calls = [asked(f"await approve('budget {number}')") for number in range(3)]

    page = answer_all(clerk, calls[:2], confirmed=False)

    text = text_of(page)
    assert "Answer 2 calls" in text
    assert "budget 0" in text
    assert "budget 2" not in text
    assert not errors_of(page)
    assert Call.objects.open().count() == 3
    response = answer_all(clerk, calls[:2], result="true", reason="all fine")

    assert message(clerk, response) == [("success", "2 calls were answered.")]
    assert history() == [("clerk", "Completed by hand. Reason: all fine")] * 2
    answered = Call.objects.filter(result="true", completed_by=clerk.user, reason="all fine")
    assert set(answered) == set(calls[:2])
    work()
    calls[0].execution.refresh_from_db()
    assert calls[0].execution.status == "completed"


def test_fail_many(asked, clerk):
    calls = [asked(), asked()]

    answer_all(clerk, calls, outcome="fail", error_message="no money")

    assert history() == [("clerk", "Failed by hand: no money")] * 2
    assert {call.error_message for call in Call.objects.all()} == {"no money"}


def test_one_of_many_was_answered_meanwhile(asked, clerk, service, monkeypatch):
    calls = [asked(), asked()]
    form_is_valid = "durable_monty.admin.call.answer_form.AnswerForm.is_valid"

    def answered_first(self):
        service.complete_call(calls[0].execution_id, 0, False)
        return ModelForm.is_valid(self)

    with monkeypatch.context() as patch:
        patch.setattr(form_is_valid, answered_first)
        response = answer_all(clerk, calls, result="true")

    assert message(clerk, response) == [
        (
            "error",
            f"Call 0 of execution {calls[0].execution_id} is already completed; it cannot become "
            "completed. Nothing was changed.",
        ),
        ("success", "1 call was answered."),
    ]
    assert len(history()) == 1


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"result": ""}, {"result": ["This field is required."]}),
        ({"outcome": "fail"}, {"error_message": ["This field is required."]}),
    ],
)
def test_an_answer_for_many_that_is_none(asked, clerk, fields, errors):
    calls = [asked(), asked()]

    assert errors_of(answer_all(clerk, calls, **fields)) == errors
    assert Call.objects.open().count() == 2


def test_who_answers_many_in_the_place_of_machines_says_why(asked, clerk):
    calls = [asked("await double(2)", ["double"]) for _ in range(2)]

    response = answer_all(clerk, calls, result="4")

    assert errors_of(response) == {"reason": ["This field is required."]}
    assert message(clerk, answer_all(clerk, calls, result="4", reason="known")) == [
        ("success", "2 calls were answered.")
    ]


def test_what_cannot_be_answered_together(asked, clerk, service, monkeypatch):
    first, second = asked(), asked("await double(2)", ["double"])

    response = answer_all(clerk, [first, second], result="true")
    assert message(clerk, response) == [
        ("error", "Nothing was changed: select calls of a single function only.")
    ]
    service.complete_call(first.execution_id, 0, True)
    response = answer_all(clerk, [first], result="false")
    assert message(clerk, response) == [
        ("error", "Nothing was changed: select only open calls of functions.")
    ]
    monkeypatch.setattr(pages, "AT_ONCE", 1)
    response = answer_all(clerk, [first, second], result="true")
    assert message(clerk, response) == [
        ("error", "Nothing was changed: select no more than 1 at once.")
    ]
    assert Call.objects.get(pk=second.pk).is_open
    assert history() == []


def test_a_viewer_answers_none(asked, viewer):
    call = asked()

    answer_all(viewer, [call], result="true")

    assert Call.objects.get().is_open
    assert b'name="action"' not in viewer.get(list_url(Call)).content


def test_arguments_are_escaped(asked, clerk):
    call = asked("await approve('<script>alert(1)</script>')", name="<script>alert(2)")

    assert b"<script>alert" not in answer_all(clerk, [call], confirmed=False).content


def test_queries(asked, clerk, django_assert_num_queries):
    calls = [asked() for _ in range(5)]
    clerk.get(list_url(Call))

    with django_assert_num_queries(9):
        answer_all(clerk, calls, confirmed=False)


# --- the inbox ---


def ids(response):
    return [row.pk for row in response.context["cl"].result_list]


def test_the_inbox_is_filtered_by_workflow_and_age(asked, clerk, move_clock):
    old = asked(name="budget")
    move_clock(2 * 3600)
    new, other = asked(name="budget"), asked(name="travel")

    assert ids(clerk.get(list_url(Call, "?waiting=person"))) == [old.pk, new.pk, other.pk]
    page = clerk.get(list_url(Call, "?waiting=person&workflow=budget"))
    assert ids(page) == [old.pk, new.pk]
    assert "By workflow" in text_of(page)
    page = clerk.get(list_url(Call, "?waiting=person&asked=hour"))
    assert ids(page) == [old.pk]
    assert "More than an hour ago" in text_of(page)
    assert ids(clerk.get(list_url(Call, "?asked=day"))) == []
    assert len(ids(clerk.get(list_url(Call, "?asked=nonsense")))) == 3

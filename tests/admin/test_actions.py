import pytest
from django.urls import reverse

from durable_monty import Retry
from durable_monty.admin import pages
from durable_monty.admin.execution import refusals
from durable_monty.admin.execution.verbs import VERBS
from durable_monty.models import Call, Execution
from tests.admin.conftest import VIEW
from tests.admin.pages import history, list_url, messages_of, text_of, url_of
from tests.support import run, work

TOKEN = "0123456789abcdef0123456789abcdef"
NAMES = [verb.name for verb in VERBS]


@pytest.fixture
def operator(staff):
    """Sees everything and may do everything with executions."""
    return staff(*VIEW, *{verb.permission for verb in VERBS}, name="operator")


@pytest.fixture
def broken(db, register):
    """An execution that failed because of a call, which would succeed now."""
    errors = [ValueError("broken")]

    def flaky():
        if errors:
            raise errors.pop()
        return "mended"

    register("flaky", flaky)
    return run("await flaky()", ["flaky"], name="payment")


def do(client, name, execution, **fields):
    return client.post(url_of(execution, name), {"reason": "", "form_token": TOKEN, **fields})


def do_all(client, name, executions, confirmed=True, **fields):
    data = {"action": name, "_selected_action": [row.pk for row in executions], **fields}
    if confirmed:
        data |= {"confirmed": "yes", "form_token": TOKEN}
    return client.post(list_url(Execution), data)


def status(execution):
    return Execution.objects.get(pk=execution.pk).status


def message(client, response):
    return messages_of(client.get(response.url))


@pytest.mark.parametrize("name", NAMES)
def test_each_needs_its_permission(asked, staff, name):
    execution = asked().execution
    permissions = {verb.name: verb.permission for verb in VERBS}
    client = staff(*VIEW, *({*permissions.values()} - {permissions[name]}))
    before = list(Execution.objects.values())

    assert client.get(url_of(execution, name)).status_code == 403
    assert do(client, name, execution).status_code == 403
    do_all(client, name, [execution])
    assert f"/{name}/" not in client.get(url_of(execution)).content.decode()
    assert list(Execution.objects.values()) == before
    assert history() == []


@pytest.mark.parametrize("name", NAMES)
def test_each_needs_to_see_executions(asked, staff, name):
    execution = asked().execution
    (permission,) = (verb.permission for verb in VERBS if verb.name == name)
    blind = staff(permission)

    assert blind.get(url_of(execution, name)).status_code == 403
    assert do(blind, name, execution).status_code == 403
    assert do_all(blind, name, [execution]).status_code == 403


@pytest.mark.parametrize("name", NAMES)
def test_a_viewer_does_nothing(asked, viewer, name):
    execution = asked().execution
    before = list(Execution.objects.values())

    assert do(viewer, name, execution).status_code == 403
    do_all(viewer, name, [execution])
    assert list(Execution.objects.values()) == before
    assert b'name="action"' not in viewer.get(list_url(Execution)).content


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_execution(operator, name):
    url = reverse(f"admin:durable_monty_execution_{name}", args=["nonsense"])

    assert operator.get(url).status_code == 404
    assert operator.post(url, {"reason": ""}).status_code == 404


def test_cancel(asked, operator):
    execution = asked(name="budget").execution

    page = text_of(operator.get(url_of(execution, "cancel")))
    assert f"budget {execution.short_id}" in page
    assert "is told to stop, may clean up first" in page
    response = do(operator, "cancel", execution, reason="no <money>")

    assert response.url == url_of(execution)
    assert message(operator, response) == [
        ("success", f'<a href="{url_of(execution)}">{execution}</a>: Cancelled.')
    ]
    assert history() == [("operator", "Cancelled. Reason: no <money>")]
    work()
    cancelled = Execution.objects.get()
    assert (cancelled.status, cancelled.reason) == ("cancelled", "no <money>")


def test_twice_is_refused(asked, operator):
    execution = asked().execution
    do(operator, "cancel", execution, reason="first")
    response = do(operator, "cancel", execution, reason="second")

    assert message(operator, response)[-1] == (
        "error",
        f"Nothing was changed: {execution} is “Waiting”.",
    )
    assert history() == [("operator", "Cancelled. Reason: first")]
    assert Execution.objects.get().reason == "first"


def test_terminate(asked, operator):
    execution = asked().execution

    response = do(operator, "terminate", execution, reason="stuck")
    assert status(execution) == "cancelled"
    again = do(operator, "terminate", execution)

    assert history() == [("operator", "Terminated. Reason: stuck")]
    assert message(operator, again)[-1] == (
        "error",
        f"Nothing was changed: {execution} is “Cancelled”.",
    )
    assert response.url == again.url == url_of(execution)


def test_pause_and_resume(asked, operator):
    execution = asked().execution

    do(operator, "pause", execution, reason="lunch")
    page = operator.get(url_of(execution)).content.decode()
    assert f'action="{url_of(execution, "resume")}"' in page
    assert url_of(execution, "pause") not in page
    assert status(execution) == "paused"
    do(operator, "resume", execution)

    assert status(execution) == "waiting"
    assert history() == [("operator", "Paused. Reason: lunch"), ("operator", "Resumed.")]


def test_restart(asked, operator):
    execution = asked(name="budget").execution

    response = do(operator, "restart", execution, reason="once more")

    made = Execution.objects.get(forked_from=execution)
    assert response.url == url_of(made)
    assert message(operator, response) == [
        ("success", f'Restarted. The new execution is <a href="{url_of(made)}">{made}</a>.')
    ]
    assert (made.name, made.forked_turn, made.key) == (
        "budget",
        0,
        f"admin:{TOKEN}:{execution.pk}",
    )
    assert history() == [
        ("operator", f"Forked from {execution.pk}. Reason: once more"),
        ("operator", f"Restarted. The new execution is {made.pk}. Reason: once more"),
    ]


def test_the_same_form_makes_one(asked, operator):
    execution = asked().execution
    do(operator, "restart", execution)

    response = do(operator, "restart", execution)

    assert Execution.objects.count() == 2
    assert len(history()) == 2
    assert message(operator, response)[-1] == (
        "error",
        "Nothing was changed: this form was sent already.",
    )


def test_a_token_of_somebody_else_is_none(asked, operator):
    execution = asked().execution

    do(operator, "restart", execution, form_token="refund 1047")

    assert Execution.objects.get(forked_from=execution).key.startswith("admin:")
    assert "refund" not in Execution.objects.get(forked_from=execution).key


def test_retry_of_a_failed_execution(broken, operator):
    page = operator.get(url_of(broken)).content.decode()
    assert f'href="{url_of(broken, "retry")}"' in page

    response = do(operator, "retry", broken)

    made = Execution.objects.get(forked_from=broken)
    assert response.url == url_of(made)
    work()
    assert status(made) == "completed"
    assert status(broken) == "failed"


def test_retry_of_a_call_that_waits_for_its_next_attempt(db, register, operator):
    register("flaky", lambda: 1 / 0, retry=Retry(2, initial=999))
    execution = run("await flaky()", ["flaky"])

    page = operator.get(url_of(execution)).content.decode()
    assert f'href="{url_of(execution, "retry")}"' in page
    response = do(operator, "retry", execution)

    assert message(operator, response) == [
        ("success", f'<a href="{url_of(execution)}">{execution}</a>: Retried.')
    ]
    work()
    assert status(execution) == "failed"


def test_nothing_to_retry(asked, operator):
    execution = asked().execution
    assert url_of(execution, "retry") not in operator.get(url_of(execution)).content.decode()

    response = do(operator, "retry", execution)

    assert message(operator, response) == [
        (
            "error",
            f"Execution {execution.pk} is waiting, and there is no call of it that waits for a "
            "retry.",
        )
    ]
    assert history() == []


def test_many_are_confirmed_first(asked, operator):
    executions = [asked(name=f"budget-{number}").execution for number in range(3)]
    do(operator, "terminate", executions[2])

    page = do_all(operator, "cancel", executions, confirmed=False)

    assert {status(row) for row in executions[:2]} == {"waiting"}
    text = text_of(page)
    assert "Cancel executions" in text
    assert "These are not changed: budget-2" in text
    assert f'value="{executions[2].pk}"' not in page.content.decode()
    response = do_all(operator, "cancel", executions, reason="all of them")
    work()
    assert response.url == list_url(Execution)
    assert message(operator, response) == [
        (
            "warning",
            "2 executions are cancelled. 1 execution was not changed: "
            f'<a href="{url_of(executions[2])}">{executions[2]}</a> (“Cancelled”)',
        ),
    ]
    assert {status(row) for row in executions} == {"cancelled"}
    assert history()[1:] == [("operator", "Cancelled. Reason: all of them")] * 2


@pytest.mark.parametrize("name", NAMES)
def test_every_action_asks_before_it_does_something_to_many(asked, broken, operator, name):
    executions = [asked().execution, broken]
    before = list(Execution.objects.values())

    response = do_all(operator, name, executions, confirmed=False)

    assert response.status_code == 200
    assert b'name="reason"' in response.content
    assert list(Execution.objects.values()) == before


def test_too_many_at_once(asked, operator, monkeypatch):
    monkeypatch.setattr(pages, "AT_ONCE", 1)
    executions = [asked().execution, asked().execution]

    response = do_all(operator, "terminate", executions)

    assert message(operator, response) == [
        ("error", "Nothing was changed: select no more than 1 at once.")
    ]
    assert {status(row) for row in executions} == {"waiting"}


def test_of_many_refusals_the_first_are_told(asked, operator, monkeypatch):
    monkeypatch.setattr(refusals, "_NAMED", 2)
    executions = [asked().execution for _ in range(4)]
    do_all(operator, "terminate", executions)
    operator.get(list_url(Execution))

    response = do_all(operator, "terminate", executions)

    ((level, text),) = message(operator, response)
    assert (level, text.count("<a "), text[-3:]) == ("error", 2, "; …")
    assert text.startswith("4 executions were not changed: ")


def test_a_reason_that_is_too_long(asked, operator):
    execution = asked().execution

    response = do(operator, "cancel", execution, reason="x" * 2_001)

    assert response.status_code == 200
    assert "Ensure this value has at most 2000 characters (it has 2001)." in text_of(response)
    assert Execution.objects.get().cancel_requested_at is None
    assert do_all(operator, "cancel", [execution], reason="x" * 2_001).status_code == 200
    assert Execution.objects.get().cancel_requested_at is None


def test_queries(asked, operator, django_assert_num_queries):
    executions = [asked().execution for _ in range(5)]
    operator.get(list_url(Execution))

    with django_assert_num_queries(8):
        operator.get(url_of(executions[0], "cancel"))
    with django_assert_num_queries(10):
        do_all(operator, "cancel", executions, confirmed=False)


def test_names_are_escaped(asked, operator):
    execution = asked(name="<script>alert(1)</script>").execution

    for page in (
        operator.get(url_of(execution, "cancel")),
        do_all(operator, "cancel", [execution], confirmed=False),
        operator.get(do(operator, "cancel", execution).url),
    ):
        assert b"<script>alert" not in page.content
        assert b"&lt;script&gt;alert" in page.content


def test_calls_are_left_to_their_own_page(asked, operator):
    call = asked()

    response = operator.post(url_of(call), {"outcome": "complete", "result": "true"})

    assert response.status_code == 403
    assert Call.objects.get().is_open

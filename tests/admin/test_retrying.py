"""What an operator sees who works through what has failed."""

import re

import pytest

from durable_monty import current_call
from durable_monty.models import Execution
from tests.admin.conftest import VIEW
from tests.admin.pages import history, list_url, messages_of, text_of, url_of
from tests.support import run, work

TOKEN = "0123456789abcdef0123456789abcdef"
FAILURES = "?attention=failed"


@pytest.fixture
def operator(staff):
    names = ("retry", "resolve", "restart", "fork")
    return staff(*VIEW, *(f"{name}_execution" for name in names), name="operator")


@pytest.fixture
def charges(register):
    """The keys under which `charge` was called, and the errors that it raises next."""
    keys, errors = [], []

    def charge():
        keys.append(current_call().idempotency_key)
        if errors:
            raise errors.pop()
        return "paid"

    register("charge", charge)
    return keys, errors


@pytest.fixture
def declined(db, charges):
    charges[1].append(ValueError("declined"))
    return run("await charge()", ["charge"], name="payment")


def do(client, name, execution, **fields):
    return client.post(url_of(execution, name), {"reason": "", "form_token": TOKEN, **fields})


def do_all(client, name, executions, **fields):
    data = {"action": name, "_selected_action": [row.pk for row in executions], **fields}
    return client.post(list_url(Execution), data | {"confirmed": "yes", "form_token": TOKEN})


def message(client, response):
    return messages_of(client.get(response.url))


def without_times(messages):
    return [(level, re.sub("<time .*?</time>", "(time)", text)) for level, text in messages]


def failures(client):
    return list(client.get(list_url(Execution, FAILURES)).context["cl"].result_list)


def a(row):
    return f'<a href="{url_of(row)}">{row}</a>'


def test_a_second_retry_says_what_the_first_made(declined, charges, operator):
    page = text_of(operator.get(url_of(declined, "retry")))
    assert "An execution is retried once" in page
    assert "New idempotency keys" in page

    do(operator, "retry", declined, reason="the bank is back")
    retry = Execution.objects.get(forked_from=declined)
    assert len(history()) == 2
    for token in (TOKEN, TOKEN[::-1]):
        response = do(operator, "retry", declined, form_token=token)
        told = without_times(message(operator, response))
        assert told[-1] == ("warning", f"{a(declined)} was retried (time) as {a(retry)}.")
    work()

    assert charges[0] == [f"{declined.pk}:0"] * 2
    assert len(history()) == 2
    page = text_of(operator.get(url_of(declined)))
    assert re.search(f"Status: Failed retried .* Retried: .* as {retry} Completed", page)
    assert url_of(declined, "retry") not in operator.get(url_of(declined)).content.decode()
    assert failures(operator) == []
    assert "Failed retried" in text_of(operator.get(list_url(Execution)))


def test_a_retry_that_failed_is_the_one_to_retry(declined, charges, operator):
    charges[1].append(ValueError("declined again"))
    do(operator, "retry", declined)
    work()
    retry = Execution.objects.get(forked_from=declined)
    assert failures(operator) == [retry]

    response = do(operator, "retry", declined)

    told = without_times(message(operator, response))
    assert told[-1] == (
        "warning",
        f"{a(declined)} was retried (time) as {a(retry)}. That one has failed too: retry it "
        "instead.",
    )


def test_new_keys_when_they_are_asked_for(declined, charges, operator):
    do(operator, "retry", declined, new_keys="on")
    work()
    retry = Execution.objects.get(forked_from=declined)
    assert charges[0] == [f"{declined.pk}:0", f"{retry.pk}:0"]


@pytest.mark.parametrize("keeps", [False, True])
def test_a_fork_keeps_the_keys_when_it_is_asked_to(declined, charges, operator, keeps):
    url = url_of(declined, "fork")
    assert "checked" not in operator.get(f"{url}?turn=1").content.decode().split("keep_keys")[1]
    again = operator.get(f"{url}?turn=1&again=0").content.decode()
    assert 'id="id_keep_keys"' in re.search("<input[^>]*keep_keys[^>]*checked[^>]*>", again)[0]

    fields = {"turn": 1, "answer_0": "again", "name": "", "reason": "", "form_token": TOKEN}
    operator.post(url, fields | ({"keep_keys": "on"} if keeps else {}))

    work()
    fork = Execution.objects.get(forked_from=declined)
    assert charges[0] == [f"{declined.pk}:0", f"{declined.pk if keeps else fork.pk}:0"]


def test_where_the_workflow_raised_by_itself_the_page_says_what_to_do(operator, staff):
    execution = run("await add(1, 2)\n1 / 0", ["add"])

    response = do(operator, "retry", execution)

    assert response.url == url_of(execution)
    assert message(operator, response) == [
        (
            "warning",
            "Nothing to retry: the workflow itself raised this error. "
            f'<a href="{url_of(execution, "fork")}">Fork it from a call.</a> '
            f'<a href="{url_of(execution, "restart")}">Restart it.</a>',
        )
    ]
    limited = staff(*VIEW, "retry_execution", name="limited")
    assert message(limited, do(limited, "retry", execution)) == [
        ("warning", "Nothing to retry: the workflow itself raised this error.")
    ]
    assert Execution.objects.count() == 1


def test_the_fork_from_the_call_that_failed(charges, operator):
    code = """
try:
    await charge()
except ValueError:
    pass
await double(2)
1 / 0
"""
    charges[1].append(ValueError("declined"))
    execution = run(code, ["charge", "double"])

    ((_level, text),) = message(operator, do(operator, "retry", execution))

    link = f'<a href="{url_of(execution, "fork")}?turn=1&amp;again=0">Fork it from call 0.</a>'
    assert link in text
    page = operator.get(f"{url_of(execution, 'fork')}?turn=1&again=0")
    assert "charge #0" in text_of(page)


def test_many_give_one_message(declined, charges, operator):
    charges[1].append(ValueError("declined"))
    second = run("await charge()", ["charge"], name="payment")
    itself = run("1 / 0", name="sum")
    do(operator, "retry", second, form_token=TOKEN[::-1])
    operator.get(list_url(Execution))
    retry = Execution.objects.get(forked_from=second)

    response = do_all(operator, "retry", [declined, second, itself])

    assert without_times(message(operator, response)) == [
        (
            "warning",
            "1 execution is retried. 2 executions were not changed: "
            f"{a(itself)} (the workflow itself raised its error); "
            f"{a(second)} (retried (time) as {a(retry)})",
        )
    ]
    assert Execution.objects.filter(forked_from=declined).count() == 1


def test_failures_are_resolved_one_by_one_or_many_at_once(operator):
    first, second, third = (run("1 / 0", name=name) for name in ("a", "b", "c"))
    page = operator.get(url_of(first)).content.decode()
    assert url_of(first, "resolve") in page
    assert url_of(first, "unresolve") not in page

    response = do(operator, "resolve", first)
    assert "This field is required." in text_of(response)
    response = do(operator, "resolve", first, reason="paid by <hand>")
    assert message(operator, response) == [("success", f"{a(first)}: Resolved.")]
    response = do_all(operator, "resolve", [first, second, third], reason="an old bug")

    assert message(operator, response) == [
        (
            "warning",
            f"2 executions are resolved. 1 execution was not changed: {a(first)} (“Failed”)",
        )
    ]
    for _ in range(2):
        assert failures(operator) == []
    assert history() == [
        ("operator", "Resolved. Reason: paid by <hand>"),
        ("operator", "Resolved. Reason: an old bug"),
        ("operator", "Resolved. Reason: an old bug"),
    ]
    text = text_of(operator.get(url_of(first)))
    assert "Failed resolved" in text
    assert re.search("Resolution: .*paid by <hand> ", text)

    do(operator, "unresolve", first)
    assert history()[-1] == ("operator", "Listed among the failures again.")
    assert failures(operator) == [first]

import pytest
from django.urls import reverse

from durable_monty import codec, operations
from durable_monty.admin.execution import fork as fork_page
from durable_monty.exceptions import FunctionNotPermitted, HostFault
from durable_monty.models import Call, Execution
from tests.admin.conftest import VIEW
from tests.admin.pages import history, messages_of, text_of, url_of
from tests.support import run, work

pytestmark = pytest.mark.django_db

TOKEN = "0123456789abcdef0123456789abcdef"
SOURCE = """
price = await add(40, 2)
approved = await approve(f"{price} euros")
await add(price, 1 if approved else 0)
"""


@pytest.fixture
def forker(staff):
    return staff(*VIEW, "fork_execution", name="forker")


@pytest.fixture
def author(staff):
    permissions = ("fork_execution", "start_execution", "call_any_function")
    return staff(*VIEW, *permissions, name="author")


@pytest.fixture
def limited(staff):
    """May edit the source, but only functions with `admin=True` may be called by it."""
    return staff(*VIEW, "fork_execution", "start_execution", name="limited")


@pytest.fixture
def done(service):
    """Turn 1 asks for the price, turn 2 for a person, turn 3 for the sum; turn 4 ends it."""
    execution = run(SOURCE, ["add", "approve"], name="purchase")
    service.complete_call(execution.pk, 1, True)
    work()
    execution.refresh_from_db()
    assert (execution.turn, execution.output) == (4, "43")
    return execution


def fork(client, execution, turn, **fields):
    data = {"turn": turn, "name": "purchase", "reason": "", "form_token": TOKEN, **fields}
    return client.post(url_of(execution, "fork"), data)


def edited(source=SOURCE, functions=("add", "approve"), **fields):
    return {"source": source.replace("\n", "\r\n"), "functions": list(functions), **fields}


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["adminform"].errors.items()}


def made(execution):
    return Execution.objects.select_related("program").get(forked_from=execution)


@pytest.mark.parametrize("permissions", [VIEW, ("fork_execution",), (*VIEW, "start_execution")])
def test_forking_needs_its_permission(done, staff, permissions):
    client = staff(*permissions)

    assert client.get(url_of(done, "fork")).status_code == 403
    assert fork(client, done, 2, answer_1="keep").status_code == 403
    assert fork(client, done, 2, answer_1="keep", **edited()).status_code == 403
    assert Execution.objects.count() == 1


def test_other_source_needs_the_permission_to_start_too(done, forker):
    page = forker.get(url_of(done, "fork") + "?turn=2").content
    assert b'name="source"' not in page
    assert b"await approve" not in page

    response = fork(forker, done, 2, answer_1="keep", **edited())

    assert response.status_code == 403
    assert Execution.objects.count() == 1


def test_who_does_not_see_calls_does_not_fork(done, staff):
    client = staff("view_execution", "view_program", "fork_execution")

    assert client.get(url_of(done, "fork")).status_code == 403
    assert fork(client, done, 2, answer_1="keep").status_code == 403
    assert url_of(done, "fork") not in client.get(url_of(done)).content.decode()


def test_who_does_not_see_sources_edits_none(done, staff):
    client = staff("view_execution", "view_call", "fork_execution", "start_execution")

    page = client.get(url_of(done, "fork") + "?turn=2").content
    assert b"await approve" not in page
    assert fork(client, done, 2, answer_1="keep", **edited()).status_code == 403


def test_an_unknown_execution(forker):
    url = reverse("admin:durable_monty_execution_fork", args=["nonsense"])

    assert forker.get(url).status_code == 404
    assert forker.post(url).status_code == 404


def test_the_page_shows_what_was_open_after_a_turn(done, forker):
    assert url_of(done, "fork") in forker.get(url_of(done)).content.decode()

    page = text_of(forker.get(url_of(done, "fork") + "?turn=2"))

    assert "Fork after turn 2" in page
    assert "approve #1" in page
    assert "42 euros" in page
    assert "Keep it: true" in page
    assert "add #" not in page
    # Without a turn it is the last one that waited for something.
    assert "Fork after turn 3" in text_of(forker.get(url_of(done, "fork")))
    for nonsense in ("x", "-1", "9" * 30):
        page = text_of(forker.get(url_of(done, "fork") + f"?turn={nonsense}"))
        assert "Fork after turn 3" in page


def test_another_answer(done, forker):
    response = fork(
        forker,
        done,
        2,
        answer_1="result",
        result_1="false",
        name="purchase, refused",
        reason="what if",
    )

    new = made(done)
    assert response.url == url_of(new)
    assert messages_of(forker.get(response.url)) == [
        ("success", f'Forked. The new execution is <a href="{url_of(new)}">{new}</a>.')
    ]
    assert history() == [
        ("forker", f"Forked from {done.pk}, after turn 2. Reason: what if"),
        ("forker", f"Forked after turn 2. The new execution is {new.pk}. Reason: what if"),
    ]
    answer = Call.objects.get(execution=new, call_id=1)
    assert (answer.result, answer.completed_by, answer.reason) == ("false", forker.user, "what if")
    work()
    new.refresh_from_db()
    assert (new.name, new.output) == ("purchase, refused", "42")
    assert Call.objects.get(execution=done, call_id=1).result == "true"


def test_the_pages_lead_from_one_to_the_other(done, forker):
    fork(forker, done, 2, answer_1="keep")
    new = made(done)

    page = forker.get(url_of(new))
    assert f'<a href="{url_of(done)}">{done.short_id}, after turn 2</a>' in page.content.decode()
    assert "Forks:" not in text_of(page)
    page = forker.get(url_of(done))
    assert f'<a href="{url_of(new)}">{new}</a>' in page.content.decode()
    assert "Forked from:" not in text_of(page)


def test_an_error_instead(done, forker):
    response = fork(forker, done, 2, answer_1="error")
    assert errors_of(response) == {"error_1": ["This field is required."]}

    fork(forker, done, 2, answer_1="error", error_1="no money", result_1="rubbish")

    work()
    assert made(done).error_message == "no money"


def test_ask_again(done, forker, service):
    page = forker.get(url_of(done, "fork") + "?turn=2&again=1").content.decode()
    assert page.index('value="again"') < page.index("checked") < page.index('value="result"')

    fork(forker, done, 2, answer_1="again")

    work()
    assert service.get_pending_calls(made(done).pk)[0]["function_name"] == "approve"


def test_the_same_form_forks_once(done, forker):
    fork(forker, done, 2, answer_1="keep")
    # Whatever was changed in it after the browser's way back.
    response = fork(forker, done, 2, answer_1="result", result_1="false", name="other")

    assert response.url == url_of(made(done))
    assert messages_of(forker.get(response.url))[-1] == (
        "error",
        "Nothing was changed: this form was sent already.",
    )
    assert len(history()) == 2


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"answer_1": "result", "result_1": " "}, {"result_1": ["This field is required."]}),
        (
            {"answer_1": "result", "result_1": "1"},
            {"result_1": ["result is not of the type bool."]},
        ),
        (
            {"answer_1": "result", "result_1": "yes"},
            {"result_1": ["This is not JSON: Expecting value: line 1 column 1 (char 0)"]},
        ),
        ({}, {"answer_1": ["This field is required."]}),
        (
            {"answer_1": "keep", "name": "a\x01b"},
            {
                "__all__": [
                    "The name must be printable and at most 200 characters long: 'a\\x01b'."
                ]
            },
        ),
    ],
)
def test_what_cannot_be(done, forker, fields, errors):
    response = fork(forker, done, 2, **fields)

    assert errors_of(response) == errors
    assert Execution.objects.count() == 1
    assert history() == []


def test_an_answer_over_the_limit(done, forker, durable_settings):
    durable_settings(MAX_VALUE_BYTES=10)
    call = Call.objects.get(execution=done, call_id=2)

    response = fork(forker, done, 3, answer_2="result", result_2='"a longer text"')

    (error,) = errors_of(response)["result_2"]
    assert error.endswith("at most 10 are allowed.")
    assert call.function == "add"


def test_other_source(done, author):
    source = SOURCE.replace("await add(price, 1 if", "print('checked')\nawait add(price, 10 if")
    response = fork(author, done, 2, answer_1="keep", **edited(source))

    new = made(done)
    assert response.url == url_of(new)
    assert new.program.source == source
    work()
    new.refresh_from_db()
    assert (new.output, new.log) == ("52", "checked\n")


def test_a_mismatch_is_shown_and_nothing_is_lost(done, author):
    source = SOURCE.replace("add(40, 2)", "add(40, 3)")

    response = fork(author, done, 2, answer_1="keep", **edited(source), reason="kept <so>")

    assert errors_of(response) == {
        "source": [
            "Replay differs from the journal at turn 1, call 0: recorded add [40,2] {}, replayed "
            "add [40,3] {}."
        ]
    }
    page = response.content.decode()
    assert "add(40, 3)" in page
    assert "kept &lt;so&gt;" in page
    assert Execution.objects.count() == 1


def test_syntax_and_type_errors_of_other_source(done, author, durable_settings):
    response = fork(author, done, 2, answer_1="keep", **edited("x = = 2"))
    assert errors_of(response) == {"source": ["Line 1, column 5: Expected an expression."]}

    wrong = SOURCE.replace("await add(price,", "await ad(price,")
    response = fork(author, done, 2, answer_1="keep", **edited(wrong))
    assert errors_of(response) == {
        "source": [
            "Line 4, column 7: 'ad' is not a function that this workflow may call: did you mean "
            "'add'? It may call: add, approve."
        ]
    }
    response = fork(author, done, 2, answer_1="keep", anyway="on", **edited(wrong))
    assert "source" in errors_of(response)  # the operation would refuse it too
    durable_settings(CHECK="off")
    response = fork(author, done, 2, answer_1="keep", anyway="on", **edited(wrong))
    assert response.url == url_of(made(done))


@pytest.mark.parametrize(
    ("source", "functions", "refused"),
    [
        (SOURCE + "\n1", ("add", "approve"), "add"),
        (SOURCE, ("add", "approve", "echo"), "echo"),
        (SOURCE + "\nawait echo(1)", ("add", "approve", "echo"), "add, echo"),
    ],
    ids=["source", "functions", "both"],
)
def test_edited_source_calls_what_has_opted_in(done, limited, source, functions, refused):
    fields = edited(source, functions) | {"anyway": "on"}
    # Posted by hand: the page does not offer `echo`.
    response = fork(limited, done, 2, answer_1="keep", **fields)

    (message,) = errors_of(response)["functions"]
    assert message in {
        f"Source that staff wrote may not call {refused}. Register it with admin=True, or give "
        "the user the permission durable_monty.call_any_function.",
        "Select a valid choice. echo is not one of the available choices.",
    }
    assert Execution.objects.count() == 1


def test_the_operation_itself_refuses_functions_that_have_not_opted_in(done, limited):
    for code, functions in [(SOURCE + "\n1", None), (SOURCE, ["add", "approve", "echo"])]:
        edits = operations.Edits(code=code, functions=functions, user=limited.user)
        with pytest.raises(FunctionNotPermitted):
            operations.fork_execution(done.pk, 2, edits, using="default")
    with pytest.raises(FunctionNotPermitted):
        operations.start_execution("await add(1, 2)", ["add"], user=limited.user, using="default")
    assert Execution.objects.count() == 1


def test_source_that_was_not_edited_keeps_its_functions(done, limited):
    fork(limited, done, 2, answer_1="again", **edited())
    assert made(done).program == done.program


def test_edited_source_may_call_what_has_opted_in(limited):
    execution = run("await double(2)", ["double"], name="purchase")

    fields = edited("await double(2)\nawait double(4)", ["double", "approve"])
    fork(limited, execution, 1, answer_0="keep", **fields)

    assert made(execution).program.functions == {"double": "double", "approve": "approve"}


def test_source_that_was_not_edited_is_the_same_program(done, author):
    fork(author, done, 2, answer_1="keep", **edited())

    assert made(done).program == done.program


def test_the_sandbox_cannot_be_used(done, author, monkeypatch):
    def fail(*args, **kwargs):
        raise HostFault("this process was forked")

    monkeypatch.setattr(operations, "fork_execution", fail)

    response = fork(author, done, 2, answer_1="keep", **edited(SOURCE + "\n1"))

    assert errors_of(response) == {"__all__": ["this process was forked"]}


def test_the_turn_that_ended_it(done, author):
    response = fork(author, done, 4, **edited())

    assert errors_of(response) == {
        "__all__": [
            f"Execution {done.pk} cannot be forked after turn 4: it ended in that turn. Nothing "
            "was changed."
        ]
    }


def test_so_many_calls_that_not_all_are_offered(service, forker, monkeypatch):
    monkeypatch.setattr(fork_page, "OFFERED", 2)
    code = "from asyncio import gather\nawait gather(*[approve(str(i)) for i in range(5)])"
    execution = run(code, ["approve"])

    page = text_of(forker.get(url_of(execution, "fork")))
    assert "approve #1" in page
    assert "approve #2" not in page
    assert "3 more calls keep their results, or run again if they have none." in page
    fork(forker, execution, 1, answer_0="result", result_0="true", answer_1="again")

    results = Call.objects.filter(execution=made(execution)).order_by("call_id")
    assert list(results.values_list("result", flat=True)) == ["true", None, None, None, None]


def test_what_is_shown_is_escaped(service, author):
    execution = run("await echo('<script>alert(1)</script>')", ["echo"], name="<script>alert(2)")

    page = author.get(url_of(execution, "fork") + "?turn=1").content.decode()

    assert "<script>alert" not in page
    assert codec.decode(Execution.objects.get().output) == "<script>alert(1)</script>"


def test_queries(done, author, django_assert_num_queries):
    author.get(url_of(done, "fork"))
    with django_assert_num_queries(9):
        author.get(url_of(done, "fork"))

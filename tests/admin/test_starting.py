import re

import pytest
from django.urls import reverse

from durable_monty.admin.source import form as source_module
from durable_monty.exceptions import HostFault
from durable_monty.models import Execution
from tests.admin.conftest import VIEW
from tests.admin.pages import history, list_url, messages_of, text_of, url_of
from tests.support import work

pytestmark = pytest.mark.django_db

TOKEN = "0123456789abcdef0123456789abcdef"
URL = reverse("admin:durable_monty_execution_add")


@pytest.fixture
def author(staff):
    return staff(*VIEW, "start_execution", name="author")


@pytest.fixture(autouse=True)
def offered(register):
    def invite(name: str, guests: int = 1) -> str:
        """Invites <people>.

        Once for each.
        """
        return f"{name} +{guests}"

    register("invite", invite, admin=True)


def start(client, source, functions=("invite",), **fields):
    data = {
        "source": source,
        "functions": list(functions),
        "inputs": "{}",
        "name": "",
        "key": "",
        "form_token": TOKEN,
        **fields,
    }
    return client.post(URL, data)


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["adminform"].errors.items()}


@pytest.mark.parametrize(
    "permissions", [VIEW, ("start_execution",), (*VIEW, "fork_execution", "complete_call")]
)
def test_starting_needs_its_permission_and_to_see_executions(staff, permissions):
    client = staff(*permissions)

    assert client.get(URL).status_code == 403
    assert start(client, "1").status_code == 403
    assert Execution.objects.count() == 0


def test_start(author):
    page = author.get(URL)
    text = text_of(page)
    assert "Start a workflow" in text_of(author.get(list_url(Execution)))
    assert "invite(name: str, guests: int = 1) -> str Invites <people>." in text
    assert "add(" not in text  # it has not opted in

    response = start(
        author,
        "\r\nawait invite(name, 2)\r\n",
        inputs='{"name": "Ada"}',
        name="party",
    )

    execution = Execution.objects.select_related("program").get()
    assert response.url == url_of(execution)
    assert messages_of(author.get(response.url)) == [
        ("success", f'<a href="{url_of(execution)}">{execution}</a> was started.')
    ]
    assert history() == [("author", "Started.")]
    assert execution.program.source == "\nawait invite(name, 2)\n"
    assert (execution.name, execution.inputs) == ("party", '{"name":"Ada"}')
    work()
    execution.refresh_from_db()
    assert (execution.status, execution.output) == ("completed", '"Ada +2"')


def test_the_same_form_starts_one(author):
    start(author, "1")
    response = start(author, "2")  # changed after the browser's way back

    execution = Execution.objects.get()
    assert execution.key == f"admin:{TOKEN}"
    assert response.url == url_of(execution)
    assert messages_of(author.get(response.url))[-1] == (
        "warning",
        "Nothing was changed: the execution was started already.",
    )
    assert history() == [("author", "Started.")]


def test_a_key(author):
    start(author, "1", key="party 7")
    assert Execution.objects.get().key == "party 7"

    response = start(author, "2", key="party 7")

    assert errors_of(response) == {
        "key": [
            f"The key 'party 7' already belongs to execution {Execution.objects.get().pk}, which "
            "differs in code. Use another key, or start it with the same code."
        ]
    }


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", "This field is required."),
        ("x = = 2", "Line 1, column 5: Expected an expression."),
        (
            "x = 1\ndel x",
            "Line 2, column 1: A workflow cannot have the 'del' statement. Write: name = None. "
            "For a key or an item: items.pop(key).",
        ),
        (
            "await invit('Ada')",
            "Line 1, column 7: 'invit' is not a function that this workflow may call: did you "
            "mean 'invite'? It may call: invite.",
        ),
        (
            "await invite(1)",
            "Line 1, column 14: Argument to function `invite` is incorrect: Expected `str`, "
            "found `Literal[1]`.",
        ),
    ],
)
def test_what_is_wrong_with_the_source_is_said_at_its_field(author, source, error):
    response = start(author, source, name="kept", inputs='{"kept": 1}')

    assert errors_of(response) == {"source": [error]}
    page = response.content.decode()
    assert 'value="kept"' in page
    assert "{&quot;kept&quot;: 1}" in page
    assert TOKEN in page
    assert re.search('value="invite" id="id_functions_[0-9]+" checked', page)
    assert Execution.objects.count() == 0


def test_the_type_checker_can_be_overruled(author):
    response = start(author, "await invite(1)")
    assert "Start anyway" in text_of(response)
    assert 'type="checkbox" name="anyway"' in response.content.decode()

    start(author, "await invite(1)", anyway="on")

    work()
    assert Execution.objects.get().output == '"1 +1"'


def test_the_parser_cannot_be_overruled(author):
    response = start(author, "x = = 2", anyway="on")

    assert errors_of(response) == {"source": ["Line 1, column 5: Expected an expression."]}


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        (
            {"inputs": "[1]"},
            {"inputs": ["inputs is not of the type dict[str, Any]."]},
        ),
        (
            {"inputs": "{name: 1}"},
            {
                "inputs": [
                    "This is not JSON: Expecting property name enclosed in double quotes: "
                    "line 1 column 2 (char 1)"
                ]
            },
        ),
        (
            {"inputs": '{"a b": 1}'},
            {"inputs": ["The input name 'a b' is not a Python variable name."]},
        ),
        (
            {"functions": ["add"]},
            {"functions": ["Select a valid choice. add is not one of the available choices."]},
        ),
        (
            {"inputs": '{"invite": 1}'},
            {"inputs": ["'invite' is both an input and a function of the workflow."]},
        ),
        (
            {"name": "x" * 201},
            {"name": ["Ensure this value has at most 200 characters (it has 201)."]},
        ),
    ],
)
def test_what_is_wrong_with_the_rest(author, fields, errors):
    response = start(author, "1", **fields)

    assert errors_of(response) == errors
    assert Execution.objects.count() == 0
    assert history() == []


def test_inputs_that_are_too_large(author, durable_settings):
    durable_settings(MAX_VALUE_BYTES=30)

    response = start(author, "1", inputs='{"a": "' + 50 * "x" + '"}')

    (error,) = errors_of(response)["inputs"]
    assert error.endswith("at most 30 are allowed.")


def test_without_a_sandbox_nothing_is_checked(author, monkeypatch, log):
    def fail(*args):
        raise HostFault("this process was forked")

    monkeypatch.setattr(source_module, "check_program", fail)

    start(author, "await invite(1)")

    assert Execution.objects.count() == 1
    assert [record.getMessage() for record in log.records] == [
        "The source was not checked: this process was forked"
    ]


def test_who_may_let_source_call_any_function(staff):
    client = staff(*VIEW, "start_execution", "call_any_function", name="trusted")
    assert "add(" in text_of(client.get(URL))

    response = start(client, "await add(1, 2)", ["add"])

    assert response.url == url_of(Execution.objects.get())


def test_a_function_that_was_not_offered_is_refused(author):
    response = start(author, "await add(1, 2)", ["add"])

    assert errors_of(response)["functions"] == [
        "Select a valid choice. add is not one of the available choices."
    ]
    assert not Execution.objects.exists()


def test_where_no_function_is_offered(author, monkeypatch):
    monkeypatch.setattr("durable_monty.operations.offered_to", lambda user: set())

    assert "No function is offered here" in text_of(author.get(URL))


def test_source_is_escaped(author):
    response = start(author, "'</textarea><script>alert(1)</script>' 1")

    assert b"<script>alert" not in response.content


def test_queries(author, django_assert_num_queries):
    author.get(URL)
    with django_assert_num_queries(4):  # session, user, permissions
        author.get(URL)

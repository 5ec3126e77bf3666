"""Executions of workflows in files, in the admin."""

import re

import pytest

from durable_monty.models import Execution, Program
from tests.admin.pages import list_url, text_of, url_of
from tests.support import work
from tests.workflows.conftest import REFUND

pytestmark = pytest.mark.django_db

# Far down in its file, and with a gap within what comes along.
FAR = REFUND.replace("def total(", f"def other():\n    return 1\n{chr(10) * 40}\n\ndef total(")


@pytest.fixture
def execution(load):
    refund = load(FAR.replace("await twice(number)", "await approve(str(number))").replace(
        "double as twice", "approve"
    )).refund  # fmt: skip
    execution_id = refund.options(label="Ms Lee").start(7)
    work()
    return Execution.objects.get(pk=execution_id)


def test_list_shows_name_version_and_label(admin_client, execution, service):
    service.start_execution("1", [], name="plain")
    text = text_of(admin_client.get(list_url(Execution)))
    assert f"refund v1 {execution.short_id} Ms Lee" in text
    assert re.search(r"plain 01\w{6}-", text)


def test_list_reads_the_versions_with_the_executions(
    admin_client, load, django_assert_max_num_queries
):
    refund = load().refund
    for number in range(10):
        refund.start(number)
    with django_assert_max_num_queries(20) as few:
        admin_client.get(list_url(Execution))
    for number in range(20):
        refund.start(number)
    with django_assert_max_num_queries(len(few)):
        admin_client.get(list_url(Execution))


def test_page_shows_version_label_and_the_lines_of_the_file(admin_client, execution):
    response = admin_client.get(url_of(execution))
    text = text_of(response)
    assert "Workflow: refund, version 1" in text
    assert "Label of this run: Ms Lee" in text
    numbers = [int(each) for each in re.findall(r'id="line-(\d+)"', response.content.decode())]
    lines = FAR.split("\n")
    first = 1 + lines.index("from dataclasses import dataclass")
    paused = 1 + next(number for number, line in enumerate(lines) if "amount = await" in line)
    assert numbers[0] == first
    assert paused in numbers
    # Where the rest of the file is blank, two lines are enough.
    assert len(numbers) < 40 < numbers[-1]
    assert f"Go to line {paused}" in text
    assert "not shown" not in text


def test_page_of_the_program_has_no_gaps(admin_client, execution):
    response = admin_client.get(url_of(Program.objects.get()))
    block = re.search(r"<pre[^>]*>(.*?)</pre>", response.content.decode(), re.DOTALL)[1]
    assert block.startswith("from dataclasses import dataclass\n")
    assert "\n\n\n\n" not in block


def test_fork_in_the_admin_keeps_version_and_entry(admin_client, execution, service):
    url = url_of(execution, "fork")
    page = admin_client.get(url)
    form = page.context["adminform"].form
    given = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in given.items() if value not in (None, False)}
    (answer,) = (name for name in data if name.startswith("answer_"))
    made = admin_client.post(url, {**data, "reason": "as it was"})
    assert made.status_code == 302, text_of(made)
    fork = Execution.objects.exclude(pk=execution.pk).get()
    assert (fork.version, fork.program, fork.label) == (
        execution.version,
        execution.program,
        "Ms Lee",
    )
    edited = data["source"].replace('f"{amount} for {reason}"', "reason")
    made = admin_client.post(url, {**data, "source": edited, "reason": "shorter"})
    assert made.status_code == 302, text_of(made)
    fork = Execution.objects.order_by("pk").last()
    assert (fork.version, fork.program.entry) == (None, "refund")
    assert answer


def test_start_form_takes_a_label(admin_client):
    form = {"source": "1", "inputs": "{}", "name": "sum", "label": "first", "key": ""}
    response = admin_client.post("/admin/durable_monty/execution/add/", form)
    assert response.status_code == 302, text_of(response)
    execution = Execution.objects.get()
    assert (execution.name, execution.label) == ("sum", "first")

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils.http import urlencode

from durable_monty import register_function
from durable_monty.functions import FUNCTION_REGISTRY
from durable_monty.models import Call, Execution, Program, Snapshot, WorkerProcess
from durable_monty.operations import register_worker
from tests.admin.pages import list_url, url_of

EVIL = "</pre><script>alert('evil')</script><img src=x onerror=alert(1)>&amp;"
MODELS = [Execution, Call, Snapshot, WorkerProcess, Program]


@pytest.fixture
def evil_function():
    @register_function("evil")
    def evil(a: EVIL, b: str = EVIL) -> EVIL:
        pass

    evil.__doc__ = EVIL
    yield
    FUNCTION_REGISTRY.remove("evil")


@pytest.fixture
def evil_rows(asked, evil_function):
    """Everything that a workflow, its functions and its host can choose is markup."""
    source = f"# {EVIL}\nprint(x)\nawait evil(x, b=x)"
    call = asked(source, ["evil"], inputs={"x": EVIL}, name=EVIL, key=EVIL)
    worker = register_worker(EVIL[:50], [EVIL], using="default")
    WorkerProcess.objects.update(host=EVIL, version=EVIL[:50], sandbox_version=EVIL[:50])
    Call.objects.update(
        function=f"evil{EVIL}", worker=worker, status="submitted", due_at=None, executor=EVIL[:50]
    )
    Execution.objects.update(worker=worker)
    return call


@pytest.fixture
def pages(admin_client):
    """All pages of the admin as they are now."""

    def read():
        urls = [reverse("admin:app_list", args=["durable_monty"])]
        urls += [list_url(model) for model in MODELS]
        urls += [url_of(row) for model in MODELS for row in model.objects.all()]
        urls += [
            list_url(Execution, "?" + urlencode({"name": EVIL, "q": EVIL})),
            list_url(Call, "?" + urlencode({"function": EVIL, "execution": EVIL, "q": EVIL})),
        ]
        for execution in Execution.objects.all():
            urls.append(url_of(execution, "live"))
            turns = range(1, execution.turn + 1)
            urls += [
                reverse("admin:durable_monty_execution_turn", args=[execution.pk, turn])
                for turn in turns
            ]
        return [admin_client.get(url) for url in urls]

    return read


def check(responses):
    for response in responses:
        assert response.status_code == 200
        page = response.content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "alert(1)>" not in page


def test_open(evil_rows, pages):
    check(pages())


def test_function_known(evil_rows, pages):
    Call.objects.update(function="evil")

    check(pages())


def test_completed(evil_rows, pages, service):
    service.complete_call(evil_rows.execution_id, 0, {EVIL: [EVIL]}, reason=EVIL)
    Call.objects.update(error_traceback=EVIL)

    check(pages())


@pytest.mark.parametrize("status", ["failed", "paused"])
def test_failed(evil_rows, pages, service, status):
    error = type(EVIL, (Exception,), {})(EVIL)
    service.fail_call(evil_rows.execution_id, 0, error, reason=EVIL)
    service.process_execution(evil_rows.execution_id)
    finished = Execution.objects.get().created_at
    Execution.objects.update(
        status=status,
        due_at=None,
        error_type=EVIL,
        error_message=EVIL,
        error_traceback=EVIL,
        log=EVIL,
        finished_at=finished if status == "failed" else None,
    )

    check(pages())


def test_the_answer_and_its_history(evil_rows, admin_client):
    get_user_model().objects.update(first_name=EVIL)
    url = url_of(evil_rows)
    data = {"outcome": "fail", "result": EVIL, "error_message": EVIL, "reason": EVIL}

    check([admin_client.post(url, {**data, "outcome": "complete"})])
    check([admin_client.post(url, data, follow=True)])
    check([admin_client.post(url, data, follow=True)])
    check([admin_client.get(url_of(evil_rows, "history"))])
    check([admin_client.get(reverse("admin:index"))])


def test_rows_that_are_not_what_the_codec_writes(evil_rows, pages):
    Call.objects.update(args="[1", kwargs=EVIL)
    Execution.objects.update(inputs="\udcff nonsense".encode("utf-8", "replace").decode())
    check(pages())

    Call.objects.update(args="7", kwargs="[]")
    check(pages())

    Call.objects.update(args='["\\ud800"]', kwargs="{}")
    check(pages())


def test_a_turn_that_printed_and_failed(asked, evil_function, pages, service):
    source = f"print(x)\ny = await evil(x, b=x)\nprint(y)\nraise ValueError(y) # {EVIL}"
    call = asked(source, ["evil"], inputs={"x": EVIL})
    service.complete_call(call.execution_id, 0, EVIL)
    service.process_execution(call.execution_id)
    assert Execution.objects.get().status == "failed"

    check(pages())


def test_no_inline_script_or_style(evil_rows, pages):
    for response in pages():
        page = response.content.decode()
        assert "<style" not in page
        assert ' style="' not in page
        for script in page.split("<script")[1:]:
            tag, body = script.split("</script>")[0].split(">", 1)
            assert "src=" in tag
            assert not body.strip()

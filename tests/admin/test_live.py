import re
import uuid

import pytest
from django.urls import reverse

from durable_monty.models import Execution
from tests.admin.pages import text_of, url_of
from tests.support import run


def parts_of(page):
    return re.findall('data-dm-part="(.*?)"', page)


def live_url(execution):
    return reverse("admin:durable_monty_execution_live", args=[execution.pk])


def test_only_the_middle_of_the_page(asked, viewer):
    execution = asked().execution

    page = viewer.get(live_url(execution)).content.decode().strip()

    assert page.startswith('<div id="dm-live"')
    assert page.endswith("</div>")
    assert "<html" not in page
    assert "Waiting since" in page
    whole = viewer.get(url_of(execution)).content.decode()
    assert parts_of(page) == parts_of(whole)
    assert parts_of(page)[:4] == ["sentence", "fields-1", "calls", "source"]


def test_it_keeps_to_the_part_that_is_looked_at(asked, viewer):
    execution = asked().execution
    query = "?calls=1&line=1"

    page = viewer.get(url_of(execution) + query).content.decode()

    url = live_url(execution) + query
    assert f'data-dm-live="{url.replace("&", "&amp;")}"' in page
    assert f'data-dm-live="{url.replace("&", "&amp;")}"' in viewer.get(url).content.decode()


def test_it_ends_with_the_execution(db, viewer):
    execution = run("1")

    page = viewer.get(url_of(execution)).content.decode()

    assert "data-dm-live=" not in page
    assert "dm-live-state" not in page
    assert "data-dm-live=" not in viewer.get(live_url(execution)).content.decode()


def test_it_is_only_read(asked, viewer):
    execution = asked().execution
    assert viewer.post(live_url(execution)).status_code == 405


def test_it_costs_no_more_than_the_page(asked, viewer, django_assert_num_queries):
    execution = asked().execution
    with django_assert_num_queries(15):
        viewer.get(live_url(execution))


def test_who_may_not_see_it(asked, staff, client):
    execution = asked().execution

    assert staff("view_call").get(live_url(execution)).status_code == 403
    assert client.get(live_url(execution)).status_code == 302


@pytest.mark.parametrize("pk", [uuid.uuid4(), "nonsense"])
def test_no_such_execution(viewer, pk):
    response = viewer.get(live_url(Execution(pk=pk)), follow=True)

    assert "Perhaps it was deleted?" in text_of(response)

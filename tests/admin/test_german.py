"""The translation that comes with the package."""

import ast
import re
from gettext import GNUTranslations

import pytest
from django.utils import translation

from durable_monty.models import Execution
from tests.admin.pages import list_url, text_of
from tests.documents import ROOT

FOLDER = ROOT / "durable_monty/locale/de/LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\}")


@pytest.fixture(scope="module")
def entries():
    """Of the .po file: the texts of each entry by their keywords."""
    blocks = (FOLDER / "django.po").read_text().split("\n\n")[1:]
    pattern = re.compile(r'^(msg[\w\[\]]+) ((?:".*"\n?)+)', re.MULTILINE)
    return [
        {
            keyword: "".join(map(ast.literal_eval, text.strip().split("\n")))
            for keyword, text in pattern.findall(block)
        }
        for block in blocks
    ]


@pytest.fixture(scope="module")
def compiled():
    with (FOLDER / "django.mo").open("rb") as file:
        return GNUTranslations(file)


def test_the_compiled_file_is_that_of_the_source(entries, compiled):
    assert len(entries) > 100
    for entry in entries:
        if "msgid_plural" in entry:
            for number, keyword in ((1, "msgstr[0]"), (2, "msgstr[1]")):
                found = compiled.ngettext(entry["msgid"], entry["msgid_plural"], number)
                assert found == entry[keyword]
        else:
            assert compiled.gettext(entry["msgid"]) == entry["msgstr"]


def test_placeholders_are_kept(entries):
    for entry in entries:
        wanted = set(PLACEHOLDER.findall(entry["msgid"] + entry.get("msgid_plural", "")))
        told = "".join(text for keyword, text in entry.items() if keyword.startswith("msgstr"))
        assert set(PLACEHOLDER.findall(told)) == wanted, entry["msgid"]


def test_pages_are_in_german(asked, viewer):
    asked(name="review")

    with translation.override("de"):
        dashboard = text_of(viewer.get("/admin/durable_monty/"))
        executions = text_of(viewer.get(list_url(Execution)))

    assert "Braucht Aufmerksamkeit Nichts" in dashboard
    assert "Wartet auf einen Menschen 1 Aufruf Ausführung Wartet seit approve #0" in dashboard
    assert re.search(r"Wartet approve \(ein Mensch\) (gerade eben|vor \d)", executions)

"""Where the pages are, and what they say."""

import html
import re

from django.contrib.admin.models import LogEntry
from django.urls import reverse


def url_of(row, view="change"):
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{view}"
    return reverse(name, args=[row.pk])


def list_url(model, query=""):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + query


def text_of(response):
    """The page as it is read: without tags, on one line."""
    body = re.sub(r"<script.*?</script>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def messages_of(response):
    return [(message.level_tag, str(message)) for message in response.context["messages"]]


def history():
    """(user, what was done) of every entry."""
    return list(LogEntry.objects.order_by("pk").values_list("user__username", "change_message"))

from __future__ import annotations

from django.urls import URLPattern, path

from durable_monty.webhooks.views import answer_call, complete_job

app_name = "durable_monty"

# Wrong tokens and secrets that one address may send in a minute.
_MOST_REFUSALS = 600


def patterns(
    *, using: str | None = None, refusals: int | None = _MOST_REFUSALS
) -> list[URLPattern]:
    """Returns the URL patterns, to include with the namespace "durable_monty".

    `using` is the database of jobs that come with a secret, by default the one that the project's
    routers name. An address that sends more than `refusals` wrong tokens or secrets in a minute is
    refused with 429. None turns this limit off.
    """
    limit = {"refusals": refusals}
    return [
        path("call/<str:token>", answer_call, limit, name="call"),
        path("webhook/complete", complete_job, {**limit, "using": using}, name="complete"),
    ]


urlpatterns = patterns()

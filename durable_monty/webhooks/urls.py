from __future__ import annotations

from django.urls import URLPattern, path

from durable_monty.webhooks.views import answer_call, complete_job

app_name = "durable_monty"

# Wrong tokens and secrets from one address, in a minute.
_MOST_REFUSALS = 600


def patterns(
    *, using: str | None = None, refusals: int | None = _MOST_REFUSALS
) -> list[URLPattern]:
    """Returns the URLs, to include with the namespace "durable_monty".

    `using`: the database of jobs that come with a secret, by default the one that the project's
    routers name. `refusals`: how many requests with a wrong token or secret an address may send
    in a minute until each more is refused with 429; None: any number.
    """
    limit = {"refusals": refusals}
    return [
        path("call/<str:token>", answer_call, limit, name="call"),
        path("webhook/complete", complete_job, {**limit, "using": using}, name="complete"),
    ]


urlpatterns = patterns()

"""URLs of the webhooks. Include them with `path("durable/", include("durable_monty.urls"))`."""

from durable_monty.webhooks.urls import app_name, urlpatterns

__all__ = ["app_name", "urlpatterns"]

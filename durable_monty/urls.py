"""What may be included in a project's URLs: `path("durable/", include("durable_monty.urls"))`."""

from durable_monty.webhooks.urls import app_name, urlpatterns

__all__ = ["app_name", "urlpatterns"]

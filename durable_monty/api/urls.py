"""URLs of the HTTP API. Include them with `path("api/", include("durable_monty.api.urls"))`."""

from django.urls import path

from durable_monty.api import make_api

api = make_api()
urlpatterns = [path("", api.urls)]

"""A server that logs what is wrong with itself, and not each refusal."""

from tests.worker_settings import *
from tests.worker_settings import LOGGING

DEBUG = False
ROOT_URLCONF = "tests.webhooks.no_urls"
ALLOWED_HOSTS = ["127.0.0.1"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
LOGGING = {
    **LOGGING,
    "loggers": {"durable_monty": {"handlers": ["stderr"], "level": "WARNING"}},
}

"""Runs on SQLite without changes. The environment may set `DATABASE_URL`, `SECRET_KEY`, `DEBUG`,
`ALLOWED_HOSTS` (separated by commas) and `MEDIA_ROOT`.
"""

import os
from pathlib import Path
from typing import Any

import dj_database_url

BASE_DIR = Path(__file__).resolve().parent.parent

# Snapshots are signed with it too: with the default, whoever can write the database can forge one.
SECRET_KEY = os.environ.get("SECRET_KEY", "django-insecure-example-key-for-development-only")
DEBUG = os.environ.get("DEBUG", "True").strip().lower() in {"1", "true", "yes", "on"}
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "durable_monty",
    "example_project.videos",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}
}
if database_url := os.environ.get("DATABASE_URL"):
    DATABASES["default"] = {
        **dj_database_url.parse(database_url, conn_max_age=600, conn_health_checks=True)
    }
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["OPTIONS"] = {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
        "PRAGMA cache_size=-20000;",  # 20 MB
        # A transaction that reads and then writes would else fail at once with "database is
        # locked", whatever the timeout.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        **DATABASES["default"].get("OPTIONS", {}),
    }
if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
    # It makes plain indexes of those with conditions, which serve as well.
    SILENCED_SYSTEM_CHECKS = ["models.W037"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "build" / "static"
MEDIA_URL = "media/"
MEDIA_ROOT = Path(os.environ.get("MEDIA_ROOT") or BASE_DIR / "example_project" / "media")

Q_CLUSTER = {
    "name": "example",
    "orm": "default",
    "workers": 2,
    # Seconds that one function may take; `retry` must be longer.
    "timeout": 600,
    "retry": 700,
    "max_attempts": 0,
    "ack_failures": True,
    "save_limit": -1,
    "bulk": 10,
}

# Every setting has a default. For example: {"AUTODISCOVER": "jobs"} looks for functions in each
# app's jobs.py instead of its workflows.py.
DURABLE_MONTY: dict[str, Any] = {
    # Seconds after which the work of a killed worker is taken over. The default is 60; five let
    # you watch it.
    "LEASE": 5.0,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "facts": {
            "()": "example_project.logs.FactsFormatter",
            "format": "{asctime} {levelname:<7} {message}",
            "datefmt": "%H:%M:%S",
            "style": "{",
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "facts"}},
    "loggers": {"durable_monty": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}

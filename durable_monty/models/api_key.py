from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField

# A request writes the last use of its key only if that is older.
USE_NOTED_EVERY = timedelta(minutes=1)


class KeyScope(models.TextChoices):
    READ = "read", _("Read executions, calls and exports")
    START = "start", _("Start and check workflows")
    ANSWER = "answer", _("Answer calls, and retry them")
    OPERATE = "operate", _("Cancel, terminate, pause, resume, retry, fork and resolve")


class ApiKey(models.Model):
    """A bearer key of the HTTP API. Its secret is not stored, only the secret's hash."""

    name = IdentifierField(_("name"), max_length=100)
    prefix = IdentifierField(
        _("prefix"), max_length=16, help_text=_("The beginning of the secret.")
    )
    sha256 = IdentifierField(_("SHA-256"), max_length=64, unique=True, editable=False)
    scopes = IdentifierField(
        _("scopes"), max_length=100, help_text=_("What it is good for, separated by commas.")
    )
    # Users may be in another database. A key of a user that is gone is good for nothing.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("acts for"),
    )
    created_at = MomentField(_("created"))
    last_used_at = MomentField(_("last used"), null=True)
    expires_at = MomentField(_("expires"), null=True, blank=True)
    revoked_at = MomentField(_("revoked"), null=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        default_permissions = ("view",)
        permissions = [("manage_apikey", _("Can make and revoke API keys"))]
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def scope_set(self) -> frozenset[str]:
        return frozenset(self.scopes.split(","))

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def is_use_noted(self, now: datetime) -> bool:
        return self.last_used_at is not None and self.last_used_at > now - USE_NOTED_EVERY


def hash_of(secret: str) -> str:
    """Returns the hex SHA-256 of a secret."""
    # It needs neither salt nor stretching: 256 random bits cannot be guessed.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

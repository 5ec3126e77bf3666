from __future__ import annotations

from django.core.signing import BadSignature, Signer
from django.db import models
from django.utils.translation import gettext_lazy as _

from durable_monty.exceptions import SnapshotUnusable
from durable_monty.models.execution import Execution
from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField


class Snapshot(models.Model):
    """The newest saved interpreter of an execution: a cache of its journal, and signed.

    Loading bytes that somebody else wrote would hand them the sandbox process, so nothing
    unsigned is loaded; what cannot be loaded is rebuilt by replay.
    """

    execution = models.OneToOneField(
        Execution,
        models.CASCADE,
        primary_key=True,
        related_name="snapshot",
        verbose_name=_("execution"),
    )
    turn = models.PositiveIntegerField(_("after turn"))
    data = models.BinaryField(_("data"), help_text=_("Compressed."))
    size = models.PositiveIntegerField(_("size"), help_text=_("Bytes, before compression."))
    format = models.PositiveIntegerField(_("dump format"))
    dictionary = IdentifierField(
        _("dictionary"), max_length=64, blank=True, help_text=_("SHA-256; empty: it needs none.")
    )
    signature = models.CharField(_("signature"), max_length=100)
    created_at = MomentField(_("created"))

    class Meta:
        verbose_name = _("snapshot")
        verbose_name_plural = _("snapshots")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.execution_id} @ {self.turn}"

    def sign(self, digest: str) -> None:
        """Signs the snapshot. `digest` is the hex SHA-256 of the bytes before compression."""
        self.signature = _signer().signature(self._claim(digest))

    def verify(self, digest: str) -> None:
        """Raises `SnapshotUnusable` unless a key signed it; `SECRET_KEY_FALLBACKS` count too."""
        signer = _signer()
        try:
            signer.unsign(f"{self._claim(digest)}{signer.sep}{self.signature}")
        except BadSignature as exc:
            raise SnapshotUnusable("its signature does not fit") from exc

    def _claim(self, digest: str) -> str:
        return f"{self.execution_id}/{self.turn}/{self.format}/{self.dictionary}/{digest}"


def _signer() -> Signer:
    return Signer(salt="durable_monty.snapshot")

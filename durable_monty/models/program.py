from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.text_limits import MAX_NAME


class ProgramQuerySet(models.QuerySet["Program"]):
    def ensure(self, source: str, functions: Mapping[str, str], entry: str = "") -> Program:
        """Returns the program of these three, and stores it if it is new."""
        sha256, text = identity_of(source, functions, entry)
        program, _created = self.get_or_create(
            sha256=sha256,
            defaults={"source": source, "functions_json": text, "entry": entry},
        )
        return program


class Program(models.Model):
    """Workflow source with the functions it may call.

    Its identity is both together, and the entry if it has one.
    """

    sha256 = IdentifierField(_("SHA-256"), max_length=64, unique=True, editable=False)
    source = models.TextField(_("workflow source"))
    functions_json = models.TextField(
        _("functions"),
        help_text=_("JSON: the name a workflow calls -> the name in the function registry."),
    )
    entry = models.CharField(
        _("entry"),
        max_length=MAX_NAME,
        blank=True,
        help_text=_(
            "The workflow function that the source calls with its inputs; empty: the inputs are "
            "global variables."
        ),
    )
    dictionary = models.BinaryField(
        _("dictionary"),
        null=True,
        help_text=_("What its snapshots have in common; never changed."),
    )
    created_at = MomentField(_("created"), auto_now_add=True)

    objects = ProgramQuerySet.as_manager()

    class Meta:
        verbose_name = _("workflow source")
        verbose_name_plural = _("workflow sources")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.sha256[:12]

    @cached_property
    def functions(self) -> dict[str, str]:
        """Maps names in the workflow to names in the function registry."""
        functions: dict[str, str] = json.loads(self.functions_json)
        return functions


def identity_of(source: str, functions: Mapping[str, str], entry: str = "") -> tuple[str, str]:
    """Returns the hex SHA-256 of a program, and its functions as they are stored."""
    text = json.dumps(functions, sort_keys=True, separators=(",", ":"))
    # The map of functions begins with a brace, which no entry does: two programs never meet here.
    whole = f"{entry}\n{text}\n{source}" if entry else f"{text}\n{source}"
    return hashlib.sha256(whole.encode()).hexdigest(), text

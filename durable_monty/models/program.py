from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField


class ProgramQuerySet(models.QuerySet["Program"]):
    def ensure(self, source: str, functions: Mapping[str, str]) -> Program:
        """Returns the program of this source and function map, and stores it if it is new."""
        sha256, text = identity_of(source, functions)
        program, _created = self.get_or_create(
            sha256=sha256, defaults={"source": source, "functions_json": text}
        )
        return program


class Program(models.Model):
    """Workflow source with the functions it may call: the two together are its identity."""

    sha256 = IdentifierField(_("SHA-256"), max_length=64, unique=True, editable=False)
    source = models.TextField(_("workflow source"))
    functions_json = models.TextField(
        _("functions"),
        help_text=_("JSON: the name a workflow calls -> the name in the function registry."),
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


def identity_of(source: str, functions: Mapping[str, str]) -> tuple[str, str]:
    """Returns the hex SHA-256 of a program, and its functions as they are stored."""
    text = json.dumps(functions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{text}\n{source}".encode()).hexdigest(), text

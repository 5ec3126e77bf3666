from __future__ import annotations

from django.db import IntegrityError, models, transaction
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from durable_monty.models.identifier import IdentifierField
from durable_monty.models.moment import MomentField
from durable_monty.models.program import Program
from durable_monty.text_limits import MAX_NAME

# Each time that another process takes the number first, it has one version more than before.
_MOST_TRIES = 50


class WorkflowVersionQuerySet(models.QuerySet["WorkflowVersion"]):
    def ensure(self, name: str, digest: str, program: Program, file: str) -> WorkflowVersion:
        """Returns the version with this digest, and stores it under the next number if it is new.

        Several processes may do this at once, with the same digest or with others.
        """
        versions = self.filter(name=name)
        for tries_left in reversed(range(_MOST_TRIES)):
            if known := versions.filter(digest=digest).first():
                return known
            number = (versions.aggregate(last=Max("number"))["last"] or 0) + 1
            try:
                with transaction.atomic(self.db):
                    return self.create(
                        name=name, digest=digest, number=number, program=program, file=file
                    )
            except IntegrityError:
                if not tries_left:
                    raise
        raise AssertionError("the loop returns or raises")


class WorkflowVersion(models.Model):
    """The source of a workflow in a file, as it was at its first start.

    Code that only moved, within its file or to another one, is the same version.
    """

    name = IdentifierField(_("workflow"), max_length=MAX_NAME)
    number = models.PositiveIntegerField(_("version"))
    digest = IdentifierField(
        _("digest"),
        max_length=64,
        help_text=_(
            "The SHA-256 of the source without comments and blank lines, and of its functions."
        ),
    )
    program = models.ForeignKey(
        Program,
        models.PROTECT,
        related_name="versions",
        verbose_name=_("workflow source"),
        help_text=_("The source at the first start. Later ones may have other line numbers."),
    )
    file = models.TextField(_("file"), help_text=_("The path of the file at the first start."))
    created_at = MomentField(_("created"), auto_now_add=True)

    objects = WorkflowVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("workflow version")
        verbose_name_plural = _("workflow versions")
        default_permissions = ("view",)
        ordering = ["name", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "digest"], name="dm_workflow_version_digest_unique"
            ),
            models.UniqueConstraint(
                fields=["name", "number"], name="dm_workflow_version_number_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"

"""Objects that stay on the host."""
import logging

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tests.workflows.modules.decorator import workflow

logger = logging.getLogger(__name__)
TITLE = _("Refund")
cache = {}


@workflow
async def flow(number):
    logger.info("starts")
    user = User.objects.get(pk=number)
    if settings.DEBUG:
        return timezone.now(), TITLE
    return user.email

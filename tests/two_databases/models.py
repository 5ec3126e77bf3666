import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A project's own users may have keys of another type."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

from django.db import models


class Booking(models.Model):
    """A transactional effect. Nothing keeps it from being there twice."""

    workflow = models.PositiveIntegerField()
    step = models.CharField(max_length=20)

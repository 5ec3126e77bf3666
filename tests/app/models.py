"""Models with the names of ours: a project that has its own must pass its checks."""

from django.conf import settings
from django.db import models


class Execution(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_constraint=False)


class Call(models.Model):
    execution = models.ForeignKey(Execution, models.CASCADE)
    completed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_constraint=False)


class Worker(models.Model):
    pass


class WorkerProcess(models.Model):
    pass


class Snapshot(models.Model):
    execution = models.OneToOneField(Execution, models.CASCADE)


class Program(models.Model):
    pass


class Attempt(models.Model):
    call = models.ForeignKey(Call, models.CASCADE)


class ApiKey(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_constraint=False)


class WorkflowVersion(models.Model):
    program = models.ForeignKey(Program, models.CASCADE)

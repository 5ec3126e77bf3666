"""Stands for the decorator of durable_monty."""


def workflow(func=None, **options):
    return func if func is not None else workflow

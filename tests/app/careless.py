"""Functions that leave their database connection in a bad state."""

from contextlib import suppress

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction

from durable_monty import register_function

_kept = []


def _create():
    Group.objects.create(name="a")


def _execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _violate():
    with suppress(IntegrityError):
        Group.objects.create(pk=Group.objects.get(name="a").pk, name="b")


def autocommit_off():
    transaction.set_autocommit(False)
    _create()


def autocommit_off_and_committed():
    transaction.set_autocommit(False)
    _create()
    transaction.commit()


def autocommit_off_and_failed():
    autocommit_off()
    raise ValueError("no")


def begin():
    _execute("BEGIN")
    _create()


def atomic_entered():
    transaction.atomic().__enter__()
    _create()


def atomic_entered_twice():
    transaction.atomic().__enter__()
    atomic_entered()


def savepoint():
    transaction.atomic().__enter__()
    # Django 6.1 has another name for it.
    getattr(transaction, "savepoint_create", transaction.savepoint)()
    _create()


def error_swallowed_inside():
    transaction.atomic().__enter__()
    _create()
    _violate()


def error_swallowed_outside():
    _create()
    with suppress(IntegrityError), transaction.atomic():
        Group.objects.create(pk=Group.objects.get(name="a").pk, name="b")


def closed():
    _create()
    connection.close()


def closed_under_django():
    _create()
    connection.connection.close()


def lock_table():
    if connection.vendor == "mysql":
        _execute("LOCK TABLES auth_group WRITE")
    else:
        transaction.atomic().__enter__()
        if connection.vendor == "postgresql":
            _execute("LOCK TABLE auth_group")
    _create()


def open_cursor():
    _create()
    cursor = connection.chunked_cursor()
    cursor.execute("SELECT id FROM auth_group")
    cursor.fetchone()
    _kept.append(cursor)


def another_session():
    """What no look at the connection tells."""
    _create()
    if connection.vendor == "postgresql":
        _execute("SET search_path TO pg_catalog")
        _execute("SET default_transaction_isolation TO 'serializable'")
    elif connection.vendor == "mysql":
        _execute("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        _execute("USE information_schema")
    else:
        _execute("PRAGMA query_only = on")


def swallow():
    """For a function that runs in our transaction."""
    _create()
    _violate()


@register_function("careless")
def careless(how):
    globals()[how]()
    return how


@register_function("careless_async")
async def careless_async(how):
    return await sync_to_async(careless)(how)


@register_function("careless_in_transaction", transactional=True)
def careless_in_transaction(how):
    return careless(how)


@register_function("count_groups")
def count_groups():
    return Group.objects.count()

"""Databases to crash on: copies of a migrated template that counts settlements by itself."""

import shutil
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

_TRIGGERS = {
    "sqlite": [
        "CREATE TABLE settlement (call_id integer)",
        """CREATE TRIGGER settled AFTER UPDATE ON durable_monty_call
           WHEN NEW.finished_at IS NOT NULL AND (
               OLD.finished_at IS NULL OR NEW.status != OLD.status OR NEW.result IS NOT OLD.result)
           BEGIN INSERT INTO settlement VALUES (NEW.id); END""",
        """CREATE TRIGGER born_settled AFTER INSERT ON durable_monty_call
           WHEN NEW.finished_at IS NOT NULL
           BEGIN INSERT INTO settlement VALUES (NEW.id); END""",
    ],
    "postgresql": [
        "CREATE TABLE settlement (call_id bigint)",
        """CREATE FUNCTION note_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN INSERT INTO settlement VALUES (NEW.id); RETURN NULL; END $$""",
        """CREATE TRIGGER settled AFTER UPDATE ON durable_monty_call FOR EACH ROW
           WHEN (NEW.finished_at IS NOT NULL AND (
               OLD.finished_at IS NULL OR NEW.status != OLD.status
               OR NEW.result IS DISTINCT FROM OLD.result))
           EXECUTE FUNCTION note_settlement()""",
        """CREATE TRIGGER born_settled AFTER INSERT ON durable_monty_call FOR EACH ROW
           WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION note_settlement()""",
    ],
    "mysql": [
        "CREATE TABLE settlement (call_id bigint)",
        """CREATE TRIGGER settled AFTER UPDATE ON durable_monty_call FOR EACH ROW
           INSERT INTO settlement SELECT NEW.id FROM DUAL
           WHERE NEW.finished_at IS NOT NULL AND (
               OLD.finished_at IS NULL OR NEW.status != OLD.status
               OR NOT NEW.result <=> OLD.result)""",
        """CREATE TRIGGER born_settled AFTER INSERT ON durable_monty_call FOR EACH ROW
           INSERT INTO settlement SELECT NEW.id FROM DUAL WHERE NEW.finished_at IS NOT NULL""",
    ],
}


def make_template(directory):
    """A copy of this database, with triggers, and its name."""
    if connection.vendor == "sqlite":
        name = str(Path(directory) / "template.sqlite3")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [name])
    else:
        name = f"{connection.settings_dict['NAME']}_template"
        clone(connection.settings_dict["NAME"], name)
    with renamed(name), connection.cursor() as cursor:
        for statement in _TRIGGERS[connection.vendor]:
            cursor.execute(statement)
    return name


@contextmanager
def copied_database(place):
    """This process and those forked from it are on a copy of their database."""
    template = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        name = str(place / "db.sqlite3")
        shutil.copy(template, name)
        with renamed(name):
            yield
    else:
        name = f"{template}_copy"
        clone(template, name)
        try:
            with renamed(name):
                yield
        finally:
            drop(name)


@contextmanager
def renamed(name):
    connection.close()
    before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def clone(template, name):
    quoted = connection.ops.quote_name(template)
    create(name, f"TEMPLATE {quoted}" if connection.vendor == "postgresql" else "")
    if connection.vendor == "mysql":
        connection.creation._clone_db(template, name)


def create(name, options=""):
    drop(name)
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)} {options}")


def drop(name):
    force = " WITH (FORCE)" if connection.vendor == "postgresql" else ""
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(name)}{force}")


def settlements():
    """How often each call was settled, in transactions that were committed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id, count(s.call_id) FROM durable_monty_call c "
            "LEFT JOIN settlement s ON s.call_id = c.id GROUP BY c.id"
        )
        return dict(cursor.fetchall())

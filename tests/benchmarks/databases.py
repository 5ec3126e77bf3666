"""A database for each engine of a run, made beside the one of `--database-url` and dropped."""

import sqlite3
import time
from argparse import ArgumentTypeError
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

_POSTGRESQL = {"postgres", "postgresql"}
_SQLITE = {"", "sqlite"}


def measurable(url):
    """For argparse: the URL, if databases of its kind can be measured."""
    scheme = urlsplit(url).scheme
    if scheme in _POSTGRESQL or scheme in _SQLITE:
        return url
    raise ArgumentTypeError(f"{scheme} is not measured, PostgreSQL and SQLite are.")


def own_database(url, engine, folder):
    if urlsplit(url).scheme in _POSTGRESQL:
        return PostgreSQL(url, engine)
    return SQLite(folder / f"{engine}.sqlite3")


class PostgreSQL:
    counts_commits = True

    def __init__(self, url, engine):
        parts = urlsplit(url)
        self.name = f"{parts.path.strip('/') or 'durable_monty'}_benchmark_{engine}"
        self.url = parts._replace(scheme="postgresql", path=f"/{self.name}").geturl()

    def create(self):
        self.drop()
        with self._server() as server:
            server.execute(f'CREATE DATABASE "{self.name}"')

    def drop(self):
        with self._server() as server:
            server.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def is_locked(self):
        return False

    def size(self):
        """Bytes of all tables with their indexes, packed."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM FULL")
            return connection.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
            ).fetchone()[0]

    def commits(self):
        """How many transactions were committed in it, once nobody is connected: a session adds
        what it has done at its end."""
        with self._server() as server:
            while server.execute(
                "SELECT 1 FROM pg_stat_activity "
                "WHERE datname = %s AND backend_type = 'client backend'",
                [self.name],
            ).fetchone():
                time.sleep(0.02)
            return server.execute(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [self.name]
            ).fetchone()[0]

    def version(self):
        with self._server() as server:
            return f"PostgreSQL {server.execute('SHOW server_version').fetchone()[0].split()[0]}"

    def _server(self):
        return psycopg.connect(self.url, dbname="postgres", autocommit=True)


class SQLite:
    counts_commits = False

    def __init__(self, path: Path):
        self.path = path
        self.name = str(path)
        self.url = f"sqlite:///{path}"

    def create(self):
        self.drop()

    def drop(self):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def is_locked(self):
        """Whether somebody holds it for writing."""
        with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def size(self):
        with closing(sqlite3.connect(self.path, timeout=20)) as connection:
            connection.execute("VACUUM")
            pages, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "page_size")
            )
            return pages * size

    def version(self):
        return f"SQLite {sqlite3.sqlite_version}"

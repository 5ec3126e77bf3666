"""System checks: what they say about wrong settings; that they are silent about right ones."""

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.checks import Error, Warning, run_checks
from django.core.management import get_commands
from django.db import DatabaseError, connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.db.utils import ConnectionHandler

from durable_monty import conf
from durable_monty.checks import databases

ROOT = Path(__file__).resolve().parent.parent
VENDORS = {"sqlite3": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "oracle": "oracle"}
GOOD_SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
GOOD_QUEUE = {"timeout": 600, "retry": 660, "save_limit": -1, "ack_failures": True}
NUMBER = "a positive number of at most 3,153,600,000 seconds (100 years)"
SHORT = "a positive number of at most 86,400 seconds (a day)"
AGE = {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}


def messages(databases=None):
    return [
        message
        for message in run_checks(tags=["durable_monty"], databases=databases)
        if message.id.startswith("durable_monty.")
    ]


@pytest.fixture
def database(monkeypatch):
    """What the checks say about a database with these settings, without connecting to it."""

    monkeypatch.setattr(databases, "can_listen", lambda alias: True)

    def check(engine, **options):
        handler = ConnectionHandler(
            {"default": {"ENGINE": f"django.db.backends.{engine}", "NAME": "x", **options}}
        )
        connection = SimpleNamespace(
            vendor=VENDORS[engine],
            display_name=VENDORS[engine],
            settings_dict=handler.settings["default"],
        )
        monkeypatch.setattr(databases, "connections", {"default": connection})
        return messages(databases=["default"])

    return check


def manage(*arguments, **env):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.django_db
def test_nothing_is_said_about_the_settings_of_the_tests():
    """Without a database mark: no check may ask the database anything."""
    assert messages(databases=[*connections]) == []


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/directory/db.sqlite3", "postgres://nobody@127.0.0.1:1/nothing"]
)
def test_nothing_is_said_about_the_example_even_with_its_database_out_of_reach(url):
    done = manage("check", "--database=default", "--fail-level=WARNING", DATABASE_URL=url)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "System check identified no issues (0 silenced).\n",
        "",
    )


def test_an_empty_database_can_be_migrated(tmp_path):
    """An error about missing tables would stop the command that makes them."""
    url = f"sqlite:///{tmp_path}/empty.sqlite3"
    done = manage("migrate", "--verbosity=0", DATABASE_URL=url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unknown_setting(settings):
    settings.DURABLE_MONTY = {"BATCHSIZE": 1, "COLOUR": 2}
    assert messages() == [
        Error(
            "DURABLE_MONTY has no setting 'BATCHSIZE'.",
            hint="Did you mean 'BATCH_SIZE'?",
            id="durable_monty.E001",
        ),
        Error(
            "DURABLE_MONTY has no setting 'COLOUR'.",
            hint=f"Known settings: {', '.join(sorted(conf.NAMES))}.",
            id="durable_monty.E001",
        ),
    ]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("AUTODISCOVER", 7, "a module name, or None; its default is 'workflows'"),
        ("BATCH_SIZE", 2.5, "a positive integer; its default is 64"),
        ("BATCH_SIZE", True, "a positive integer; its default is 64"),
        ("BATCH_SIZE", 0, "a positive integer; its default is 64"),
        ("LEASE", "60", f"{SHORT}; its default is 60.0"),
        *(
            (name, value, f"{wanted}; its default is {default}")
            for name, wanted, default, most in [
                ("LEASE", SHORT, 60.0, 86_400),
                ("POLL_INTERVAL", SHORT, 0.05, 86_400),
                ("DRAIN_TIMEOUT", NUMBER, 30.0, 3_153_600_000),
            ]
            for value in (-1, math.nan, math.inf, 1e20, most + 1)
        ),
        (
            "FUNCTION_MODULES",
            "shop.tasks",
            "a list of module paths; its default is ()",
        ),
        ("RETRY", {"attempts": 3}, "a dict of the arguments of Retry; its default is {}"),
        ("RETRY", {"max_attempts": 0}, "a dict of the arguments of Retry; its default is {}"),
        ("RETRY", 3, "a dict of the arguments of Retry; its default is {}"),
        ("FUNCTION_MODULES", [1], "a list of module paths; its default is ()"),
    ],
)
def test_value_of_a_wrong_type(settings, name, value, wanted):
    settings.DURABLE_MONTY = {name: value}
    assert messages() == [
        Error(
            f"DURABLE_MONTY[{name!r}] is {value!r}.",
            hint=f"It must be {wanted}.",
            id="durable_monty.E002",
        )
    ]


def test_executor_of_a_wrong_type(settings):
    settings.DURABLE_MONTY = {"EXECUTOR": None}
    default = conf.Settings().EXECUTOR
    assert messages() == [
        Error(
            "DURABLE_MONTY['EXECUTOR'] is None.",
            hint=f"It must be a string; its default is {default!r}.",
            id="durable_monty.E002",
        )
    ]


@pytest.mark.parametrize("value", [None, [], "LEASE=5", 3])
def test_settings_that_are_no_dict(settings, value):
    settings.DURABLE_MONTY = value
    assert messages() == [
        Error(
            f"DURABLE_MONTY is {value!r}.",
            hint="It must be a dict of settings.",
            id="durable_monty.E002",
        )
    ]


def test_settings_whose_names_are_of_several_types(settings):
    settings.DURABLE_MONTY = {1: 2, "COLOUR": 3}
    assert [message.msg for message in messages()] == [
        "DURABLE_MONTY has no setting 1.",
        "DURABLE_MONTY has no setting 'COLOUR'.",
    ]


@pytest.mark.parametrize("path", ["shop.utils", "tests.app.plain.shorten", "", ".plain"])
def test_function_module_that_is_not_there(settings, path):
    settings.DURABLE_MONTY = {"FUNCTION_MODULES": ["tests.app.plain", path]}
    assert messages() == [
        Error(
            f"DURABLE_MONTY['FUNCTION_MODULES'] names {path!r}, and there is no such module.",
            hint="Correct the path, or remove it.",
            id="durable_monty.E007",
        )
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dramatiq", "dramatiq doesn't look like a module path"),
        ("nowhere.Pool", "No module named 'nowhere'"),
        (
            "durable_monty.executor.Pool",
            'Module "durable_monty.executor" does not define a "Pool" attribute/class',
        ),
        (
            ".executors.Pool",
            "the 'package' argument is required to perform a relative import for '.executors'",
        ),
        ("os.path.join", "'os.path.join' is not a subclass of Executor."),
        (
            "durable_monty.executor.Executor",
            "'durable_monty.executor.Executor' does not define check_job, get_stats, submit_call.",
        ),
    ],
)
def test_executor_that_cannot_be_used(settings, name, why):
    settings.DURABLE_MONTY = {"EXECUTOR": name}
    assert messages() == [
        Error(
            f"DURABLE_MONTY['EXECUTOR'] is {name!r}, which cannot be used: {why}",
            hint="Use 'django_q', 'local', 'rq', 'celery', 'django_tasks', 'http', 'aws_lambda', "
            "'modal', or the dotted path of a subclass of "
            "durable_monty.Executor.",
            id="durable_monty.E008",
        )
    ]


@pytest.fixture
def project(tmp_path):
    """Writes a project's settings and modules; gives what a command says of it."""

    def run(command, *lines, place="config.settings", modules=()):
        for name, text in (
            (place, "\n".join(["from tests.settings import *", *lines])),
            *modules,
        ):
            path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != tmp_path:
                (path.parent / "__init__.py").touch()
            path.write_text(f"{text}\n")
        return manage(
            *command.split(),
            DJANGO_SETTINGS_MODULE=place,
            PYTHONPATH=f"{tmp_path}:{ROOT}",
            DATABASE_URL="",  # the database of these tests exists only as a test database
        )

    return run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "DURABLE_MONTY = {'FUNCTION_MODULES': 'shop.utils'}",
            "(durable_monty.E002) DURABLE_MONTY['FUNCTION_MODULES'] is 'shop.utils'.",
        ),
        (
            "DURABLE_MONTY = {'FUNCTION_MODULES': ['shop.utils']}",
            "(durable_monty.E007) DURABLE_MONTY['FUNCTION_MODULES'] names 'shop.utils', and "
            "there is no such module.",
        ),
        (
            "DURABLE_MONTY = {'FUNCTION_MODULES': 5}",
            "(durable_monty.E002) DURABLE_MONTY['FUNCTION_MODULES'] is 5.",
        ),
        (
            "DURABLE_MONTY = {'AUTODISCOVER': 5}",
            "(durable_monty.E002) DURABLE_MONTY['AUTODISCOVER'] is 5.",
        ),
        ("DURABLE_MONTY = {'RETRY': 3}", "(durable_monty.E002) DURABLE_MONTY['RETRY'] is 3."),
        ("DURABLE_MONTY = ['LEASE']", "(durable_monty.E002) DURABLE_MONTY is ['LEASE']."),
        (
            "DURABLE_MONTY = {'EXECUTOR': 'nowhere.Pool'}",
            "(durable_monty.E008) DURABLE_MONTY['EXECUTOR'] is 'nowhere.Pool', which cannot be "
            "used: No module named 'nowhere'",
        ),
        (
            "DURABLE_MONTY = {'EXECUTORS': {'nowhere.Pool': {}}}",
            "(durable_monty.E008) DURABLE_MONTY['EXECUTORS'] has 'nowhere.Pool', which cannot be "
            "used: No module named 'nowhere'",
        ),
        (
            "DURABLE_MONTY = {'EXECUTORS': ['local']}",
            "(durable_monty.E002) DURABLE_MONTY['EXECUTORS'] is ['local'].",
        ),
    ],
)
@pytest.mark.parametrize("command", ["check", "runworker --once"])
def test_wrong_settings_do_not_keep_the_check_from_speaking(project, command, line, said):
    done = project(command, line)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_are_wrong_where_no_check_runs_end_a_worker_in_one_line(project):
    done = project(
        "runworker --once --skip-checks", "DURABLE_MONTY = {'EXECUTOR': 'nowhere.Pool'}"
    )
    assert (done.returncode, done.stderr) == (
        1,
        "CommandError: There is no executor 'nowhere.Pool': use django_q, local, rq, celery, "
        "django_tasks, http, aws_lambda, modal, or the dotted path of a class (No module named "
        "'nowhere').\n",
    )


WORKFLOWS = "from durable_monty import register_function"
OUTSIDE = (
    "(durable_monty.W002) Workers do not find the functions of {!r}: it is in no installed app."
)


@pytest.mark.parametrize(
    ("place", "module", "hint"),
    [
        (
            "config.settings",
            "config.workflows",
            "Add 'config' to INSTALLED_APPS, or 'config.workflows' to "
            "DURABLE_MONTY['FUNCTION_MODULES'].",
        ),
        (
            "config.settings.production",
            "config.workflows",
            "Add 'config' to INSTALLED_APPS, or 'config.workflows' to "
            "DURABLE_MONTY['FUNCTION_MODULES'].",
        ),
        (
            "project_settings",
            "workflows",
            "Move it into an installed app, or add 'workflows' to "
            "DURABLE_MONTY['FUNCTION_MODULES'].",
        ),
    ],
)
def test_workflows_beside_the_settings(project, place, module, hint):
    found = [(module, WORKFLOWS)]
    if place == "config.settings.production":
        found.append(("config.urls", ""))
    done = project("check", place=place, modules=found)
    assert done.returncode == 0
    assert f"{OUTSIDE.format(module)}\n\tHINT: {hint}\n" in done.stderr


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("INSTALLED_APPS.append('config')", WORKFLOWS),
        ("DURABLE_MONTY['FUNCTION_MODULES'] = ['config.workflows']", WORKFLOWS),
        ("DURABLE_MONTY['AUTODISCOVER'] = None", WORKFLOWS),
        ("", "the_workflows_of_something_else = 1"),
    ],
)
def test_workflows_beside_the_settings_that_are_found_or_not_ours(project, line, text):
    done = project("check", line, modules=[("config.workflows", text)])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "values",
    [
        {"AUTODISCOVER": None},
        {"AUTODISCOVER": "jobs"},
        {"RETRY": {"max_attempts": 3}},
        {"LEASE": 5},
        {"LEASE": 86_400, "POLL_INTERVAL": 86_400.0},
        {"POLL_INTERVAL": 0.5},
        {"FUNCTION_MODULES": ["tests.app.plain"]},
        {"FUNCTION_MODULES": ("tests.app.plain",)},
        {"EXECUTOR": "django_q"},
        {"EXECUTOR": "durable_monty.InlineExecutor"},
        {},
    ],
)
def test_values_that_fit(settings, values):
    settings.DURABLE_MONTY = values
    assert messages() == []


def test_queue_app_is_missing(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert messages() == [
        Error(
            "'django_q' is not in INSTALLED_APPS, and the executor needs it.",
            hint="Add it, or set DURABLE_MONTY['EXECUTOR'] to another executor.",
            id="durable_monty.E003",
        )
    ]


def test_queue_does_not_matter_to_another_executor(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    settings.DURABLE_MONTY = {"EXECUTOR": "durable_monty.executors.local.LocalExecutor"}
    settings.Q_CLUSTER = {}
    assert messages() == []


@pytest.mark.parametrize(
    ("queue", "timeout", "retry"),
    [({}, "None", 60), ({"timeout": 60}, 60, 60), ({"timeout": 90, "retry": 80}, 90, 80)],
)
def test_queue_without_a_fitting_timeout(settings, queue, timeout, retry):
    settings.Q_CLUSTER = {"save_limit": -1, "ack_failures": True, **queue}
    assert messages() == [
        Warning(
            f"Q_CLUSTER has timeout={timeout} and retry={retry}: django-q2 needs both, with "
            "retry above timeout.",
            hint="For example Q_CLUSTER = {..., 'timeout': 600, 'retry': 660}.",
            id="durable_monty.W010",
        )
    ]


def test_queue_that_stores_and_repeats(settings):
    settings.Q_CLUSTER = {"timeout": 600, "retry": 660}
    assert messages() == [
        Warning(
            "Q_CLUSTER['save_limit'] is not -1: it stores a row for each task, and on SQLite it "
            "locks up.",
            hint="Set it to -1.",
            id="durable_monty.W011",
        ),
        Warning(
            "Q_CLUSTER['ack_failures'] is not True: a task that raises is delivered again for "
            "ever.",
            hint="Set it to True.",
            id="durable_monty.W011",
        ),
    ]


def test_queue_that_fits(settings):
    settings.Q_CLUSTER = GOOD_QUEUE
    assert messages() == []


def test_time_without_zones(settings):
    settings.USE_TZ = False
    assert messages() == [
        Error(
            "USE_TZ is False; durable_monty stores moments, not wall-clock times.",
            hint="Set USE_TZ = True.",
            id="durable_monty.E004",
        )
    ]


@pytest.fixture
def rival(tmp_path, monkeypatch, settings):
    """An installed app with a `runworker` of its own; gives a function that lists it."""
    commands = tmp_path / "rival" / "management" / "commands"
    commands.mkdir(parents=True)
    for package in (commands, commands.parent, commands.parent.parent):
        (package / "__init__.py").touch()
    (commands / "runworker.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def install(*, first):
        others = list(settings.INSTALLED_APPS)
        settings.INSTALLED_APPS = ["rival", *others] if first else [*others, "rival"]
        get_commands.cache_clear()

    yield install
    get_commands.cache_clear()


def test_another_runworker_comes_first(rival):
    rival(first=True)
    assert messages() == [
        Warning(
            "`manage.py runworker` belongs to 'rival', not to durable_monty.",
            hint="List 'durable_monty' before it in INSTALLED_APPS, or use durable_worker.",
            id="durable_monty.W001",
        )
    ]
    assert get_commands()["durable_worker"] == "durable_monty"


def test_another_runworker_comes_later(rival):
    rival(first=False)
    assert messages() == []


def test_database_of_another_kind(database):
    assert database("oracle") == [
        Error(
            "The database 'default' is oracle, which durable_monty does not support.",
            hint="Use PostgreSQL, SQLite, MariaDB or MySQL.",
            id="durable_monty.E005",
        )
    ]


def test_sqlite(database):
    assert database("sqlite3", OPTIONS=GOOD_SQLITE) == []
    assert database("sqlite3") == [
        Warning(
            "The SQLite database 'default' uses deferred transactions: two writers get "
            '"database is locked" at once, whatever the timeout.',
            hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE'.",
            id="durable_monty.W020",
        ),
        Warning(
            "The SQLite database 'default' is not set to WAL: a reader blocks every writer.",
            hint="Set OPTIONS['init_command'] = "
            "'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'.",
            id="durable_monty.W021",
        ),
    ]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_connections_that_are_not_kept(database, engine):
    assert database(engine, **AGE) == []
    assert database(engine, CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True) == []
    assert database(engine) == [
        Warning(
            "CONN_MAX_AGE of the database 'default' is 0: a connection for each call makes "
            "workers about ten times slower.",
            hint="Set it to 600, for example.",
            id="durable_monty.W022",
        )
    ]
    assert database(engine, CONN_MAX_AGE=600) == [
        Warning(
            "CONN_HEALTH_CHECKS of the database 'default' is off: after a restart of the "
            "database each worker fails once.",
            hint="Set it to True.",
            id="durable_monty.W023",
        )
    ]


@pytest.mark.parametrize("hears", [False, True, DatabaseError("out of reach")])
def test_notifications_that_do_not_arrive(database, monkeypatch, hears):
    def can_listen(alias):
        if isinstance(hears, Exception):
            raise hears
        return hears

    monkeypatch.setattr(databases, "can_listen", can_listen)
    warning = Warning(
        "Wake-ups do not arrive through the database 'default': LISTEN does not work there, so "
        "workers poll every 0.01 seconds.",
        hint="A pooler in transaction mode loses them: let workers connect to the server itself, "
        "or in session mode. Behind such a pooler, set DISABLE_SERVER_SIDE_CURSORS to True. The "
        "driver must be psycopg 3.",
        id="durable_monty.W025",
    )
    assert database("postgresql", **AGE) == ([warning] if hears is False else [])


def test_postgresql_pool(database):
    assert database("postgresql", **AGE, OPTIONS={"pool": True}) == [
        Warning(
            "The database 'default' has a connection pool, which does not survive the fork of "
            "django-q2's workers.",
            hint="Remove OPTIONS['pool'] from the settings of worker processes.",
            id="durable_monty.W024",
        )
    ]


@pytest.mark.parametrize(
    ("engine", "level"),
    [
        ("postgresql", IsolationLevel.REPEATABLE_READ),
        ("postgresql", IsolationLevel.SERIALIZABLE),
        ("mysql", "repeatable read"),
        ("mysql", None),
    ],
)
def test_isolation(database, engine, level):
    assert database(engine, **AGE, OPTIONS={"isolation_level": level}) == [
        Error(
            "The isolation level of the database 'default' is not READ COMMITTED: a worker "
            "could see that an answer came and not the answer.",
            hint="Remove OPTIONS['isolation_level'], or set it to read committed.",
            id="durable_monty.E006",
        )
    ]


@pytest.mark.parametrize(
    ("engine", "level"),
    [
        ("postgresql", IsolationLevel.READ_COMMITTED),
        ("postgresql", 2),
        ("postgresql", None),
        ("mysql", "READ COMMITTED"),
    ],
)
def test_isolation_that_fits(database, engine, level):
    assert database(engine, **AGE, OPTIONS={"isolation_level": level}) == []

"""New projects that follow the documentation: the settings of each database, the tutorial."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from durable_monty import conf
from tests.documents import DOCS, README, ROOT, blocks, check_command, of_language

TUTORIAL = DOCS / "tutorial" / "first-workflow.md"
INSTALL = DOCS / "how-to" / "install.md"
OPERATE = DOCS / "how-to" / "operate.md"

# Reads a block from each line, runs it as a doctest or as code, and prints what went wrong.
SHELL = """
import doctest, json, sys
import django
names = {}
for line in sys.stdin:
    django.setup()
    language, text, number = json.loads(line)
    told = []
    if language == "pycon":
        test = doctest.DocTestParser().get_doctest(text, {}, "tutorial", "tutorial", number)
        test.globs = names
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        doctest.DocTestRunner(verbose=False, optionflags=options).run(
            test, out=told.append, clear_globs=False
        )
    else:
        exec(compile(text, "tutorial", "exec"), names)
    print(json.dumps("".join(told)), flush=True)
"""


class Project:
    """A new folder in which commands run as a reader of the documentation types them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO")},
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
            "DJANGO_SUPERUSER_USERNAME": "admin",
            "DJANGO_SUPERUSER_PASSWORD": "a long password",
            "DJANGO_SUPERUSER_EMAIL": "admin@example.com",
        }

    def run(self, *arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *options):
        self.run("-m", "django", "startproject", "mysite", *options)

    def manage(self, *arguments):
        return self.run("manage.py", *arguments)

    def write(self, path, text):
        (self.folder / path).write_text(text)

    def apply(self, diff, path):
        file = self.folder / path
        file.write_text(applied(diff, file.read_text()))

    @contextmanager
    def shell(self):
        """The one Python shell that a reader keeps open; yields a function that runs a block."""
        process = subprocess.Popen(
            [sys.executable, "-c", SHELL],
            cwd=self.folder,
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "mysite.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        def run(block):
            line = json.dumps([block.language, block.text, block.line - 1])
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, f"line {block.line}: see the traceback above"
            assert json.loads(answer) == ""

        try:
            yield run
        finally:
            process.communicate(timeout=20)


def applied(diff, text):
    """Returns `text` with each hunk of `diff` applied; an empty line ends a hunk. A hunk without
    context is added at the end."""
    for hunk in diff.split("\n\n"):
        lines = [line for line in hunk.splitlines() if not line.startswith(("---", "+++"))]
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        if not old:
            text = f"{text}\n{new}\n"
            continue
        assert text.count(old) == 1, f"not once in the file:\n{old}"
        text = text.replace(old, new)
    return text


@pytest.mark.django_db(transaction=True)
def test_the_settings_of_each_database(tmp_path):
    """A project from Django's own template, with the diff of the database that is tested, and the
    example of the README."""
    headings = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL and MariaDB"}
    part = INSTALL.read_text().partition(f"### {headings[connection.vendor]}\n")[2]
    diff = re.search(r"```diff\n(.*?)```", part, re.DOTALL)[1]
    project = Project(tmp_path)
    project.start(".")
    project.apply(diff, "mysite/settings.py")
    (tmp_path / "shop").mkdir()
    project.write("shop/__init__.py", "")
    example, start = of_language(README, "python")[:2]
    project.write(example.path, example.text)
    database = {
        name: str(value)
        for name, value in settings.DATABASES["default"].items()
        if name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    }
    if connection.vendor == "sqlite":
        database = {}
    with (tmp_path / "mysite/settings.py").open("a") as file:
        file.write(f'INSTALLED_APPS.append("shop")\nDATABASES["default"].update({database!r})\n')

    assert project.manage("check", "--database=default", "--fail-level=WARNING").startswith(
        "System check identified no issues"
    )
    project.manage("migrate", "--verbosity=0")
    project.manage("shell", "-c", start.text)
    assert f"executor django_q, 4 functions, {connection.vendor} database 'default'." in (
        project.manage("runworker", "--once")
    )
    ask = f"{start.text}\nprint(service.poll(execution_id)['status'])"
    told = project.manage("shell", "-c", ask)
    assert told.splitlines()[-1] == "waiting"


@pytest.mark.parametrize("block", of_language(INSTALL, "diff"), ids=lambda block: str(block.line))
def test_each_diff_fits_the_settings_of_a_new_project(block, tmp_path):
    project = Project(tmp_path)
    project.start(".")
    project.apply(block.text, "mysite/settings.py")
    compile((tmp_path / "mysite/settings.py").read_text(), "settings.py", "exec")


def test_the_tutorial_from_beginning_to_end(tmp_path):
    project = Project(tmp_path)
    with project.shell() as shell:
        for block in blocks(TUTORIAL):
            match block.language:
                case "shell":
                    for line in block.text.splitlines():
                        type_command(project, line)
                case "diff":
                    (path,) = re.findall(r"^\+\+\+ (.*)$", block.text, re.MULTILINE)
                    project.apply(block.text, path)
                case "python":
                    project.write(block.path, block.text)
                case "pycon" | "hidden":
                    shell(block)


def type_command(project, line):
    program, *arguments = line.split()
    if program == "django-admin":
        project.run("-m", "django", *arguments)
    elif arguments[:1] != ["manage.py"] or "runserver" in arguments:
        check_command(line)  # the environment is there already; the test client is the browser
    elif "runworker" in arguments:
        project.run(*arguments, "--until-complete")
    elif "createsuperuser" in arguments:
        project.run(*arguments, "--noinput")
    else:
        project.run(*arguments)


def test_the_unit_and_the_image_let_a_worker_drain():
    texts = {
        language: of_language(OPERATE, language)[0].text
        for language in ("ini", "dockerfile", "yaml")
    }
    drain = conf.Settings().DRAIN_TIMEOUT
    (command,) = re.findall(r"^ExecStart=(.*)$", texts["ini"], re.MULTILINE)
    check_command(command)
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", texts["ini"], re.MULTILINE)
    assert int(timeout) > drain
    (timeout,) = re.findall(r"stop_grace_period: (\d+)s$", texts["yaml"], re.MULTILINE)
    assert int(timeout) > drain
    (command,) = re.findall(r"^CMD (.*)$", texts["dockerfile"], re.MULTILINE)
    check_command(" ".join(json.loads(command)))
    assert "\nUSER shop\n" in texts["dockerfile"]

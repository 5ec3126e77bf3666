"""The real command, as a newcomer runs it: in processes of its own, on an empty database."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
import zipfile
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import dj_database_url
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import ConnectionHandler

from example_project.videos.clips import make_clip
from example_project.videos.demo import course, preparation, runs
from example_project.videos.demo.children import free_port
from example_project.videos.demo.display import Display
from tests.processes import database_url

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120

SMALL = {"seconds": 0.5, "width": 128, "height": 72}
# Its encoding is still running when that of a small one is done.
LONG = {"seconds": 8, "width": 128, "height": 72}


class Machine:
    """A database and a MEDIA_ROOT, both empty at first, and the demos that run there."""

    def __init__(self, folder, url):
        self.folder, self.media, self.url = folder, folder / "media", url
        self._sessions = set()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in CHOSEN_HERE},
            "DATABASE_URL": url,
            "MEDIA_ROOT": str(self.media),
        }
        self._connection = ConnectionHandler({"default": dj_database_url.parse(url)})["default"]
        self.database = f"{connection.display_name} {self._connection.settings_dict['NAME']}"

    def run(self, *options, **environment):
        """A demo to its end: (exit code, stdout, stderr)."""
        demo = Demo(self, options, environment)
        return demo.end(), demo.stdout, demo.stderr

    def query(self, sql):
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def calls(self):
        """(function, status, attempt) of the encoding, in the order they were made."""
        return self.query(
            "SELECT c.function, c.status, c.attempt FROM durable_monty_call c"
            " JOIN durable_monty_execution e ON e.id = c.execution_id"
            " WHERE e.name = 'encode_episode' ORDER BY e.id, c.call_id"
        )

    def processes(self):
        """pid -> command of its demos, and of all that these started."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and self._is_mine(entry):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = command
            except OSError:  # it ended meanwhile
                continue
        return found

    def _is_mine(self, entry):
        """By its environment, or its session: the sandbox's processes have no environment."""
        state, _parent, session = process_facts(entry.name)
        if f"MEDIA_ROOT={self.media}\0".encode() in (entry / "environ").read_bytes():
            if entry.name == session:
                self._sessions.add(session)
            return True
        return state != "Z" and session in self._sessions

    def close(self):
        self._connection.close()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


CHOSEN_HERE = {"DJANGO_SETTINGS_MODULE", "DATABASE_URL", "MEDIA_ROOT", "DEBUG"}


class Demo:
    """`manage.py demo` while it runs."""

    def __init__(self, machine, options, environment):
        self.machine = machine
        number = len(list(machine.folder.glob("*.stdout")))
        self._files = [machine.folder / f"{number}.{name}" for name in ("stdout", "stderr")]
        with self._files[0].open("wb") as stdout, self._files[1].open("wb") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "manage.py", "demo", *options],
                cwd=ROOT,
                env={**machine.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def stdout(self):
        return self._files[0].read_text()

    @property
    def stderr(self):
        return self._files[1].read_text()

    def until(self, condition, what):
        """Waits for a condition, for as long as the demo runs."""

        def met_or_ended():
            ended = self.popen.poll() is not None
            value = condition()
            assert value or not ended, f"it ended before {what}:\n{self}"
            return value

        return self.eventually(met_or_ended, what)

    def eventually(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not in time: {what}:\n{self}"
            time.sleep(0.02)
        return value

    def until_encoding(self):
        """Until the first clip is encoded and the second is not."""

        def is_in_the_middle():
            try:
                states = self.machine.query(
                    "SELECT status, attempt FROM durable_monty_call ORDER BY id"
                )
            except Exception:
                return False  # there is no such table yet
            return states == [("completed", 1), ("submitted", 1)]

        self.until(is_in_the_middle, "one of two clips is encoded")

    def end(self, number=None):
        """The exit code; no process of it is left."""
        self.machine.processes()  # their sessions are known from then on
        if number is not None:
            self.popen.send_signal(number)
        try:
            self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self}") from None
        self.eventually(lambda: not self.machine.processes(), "no process is left")
        return self.popen.returncode

    def __str__(self):
        logs = sorted(self.machine.media.glob("logs/*"))
        return "\n".join(
            f"--- {file.name}:\n{file.read_text()[-4000:]}" for file in [*self._files, *logs]
        )


@contextmanager
def new_database(tmp_path):
    """The URL of an empty one, of the vendor that the tests run on."""
    if connection.vendor != "postgresql":
        yield f"sqlite:///{tmp_path / 'demo.sqlite3'}"
        return
    name = f"demo_{uuid.uuid4().hex}"
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    try:
        yield database_url().rpartition("/")[0] + f"/{name}"
    finally:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory):
    """A folder for it: without, each of some twenty processes compiles all that it imports."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def machine(tmp_path, bytecode, django_db_blocker):
    with django_db_blocker.unblock(), new_database(tmp_path) as url:
        machine = Machine(tmp_path, url)
        if machine.environment.pop("PYTHONDONTWRITEBYTECODE", None):
            machine.environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
        yield machine
        machine.close()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.MEDIA_ROOT", root)
        return {
            "small": make_clip("small.mp4", **SMALL),
            "long": make_clip("long.mp4", **LONG),
        }


@pytest.fixture
def clips(machine, drawn):
    """Puts source clips there, so that none is drawn."""

    def put(*names):
        (machine.media / "clips").mkdir(parents=True)
        for index, name in enumerate(names, 1):
            shutil.copy(drawn[name], machine.media / f"clips/clip-{index}.mp4")

    return put


def report(stdout):
    return json.loads(stdout.splitlines()[-1])


def state(path):
    """What changes when a file is written again."""
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


NOTHING = {"execution": None, "status": None, "output": None}
ENCODED_ONE_CLIP = [
    ("encode_video", "completed", 1),
    ("generate_thumbnail", "completed", 1),
    ("create_package", "completed", 1),
]


def test_it_works_on_an_empty_machine_and_works_twice(machine):
    code, stdout, stderr = machine.run("--json", "--clips=1", "--quality=240p")

    assert (code, stdout.count("\n")) == (0, 1), stderr
    first = report(stdout)
    assert first.keys() == {"execution", "status", "output"}
    assert first["status"] == "completed"
    assert Path(first["output"]).parent == machine.media / "episode-1"
    with zipfile.ZipFile(first["output"]) as archive:
        assert archive.namelist() == ["clip-1.240p.mp4", "clip-1.240p.jpg", "manifest.json"]
    source = state(machine.media / "clips/clip-1.mp4")
    package = state(Path(first["output"]))
    assert re.search(r"migrations applied\nAdmin +user admin, password \S{12}\n", stderr)

    code, stdout, _stderr = machine.run("--clips=1", "--quality=240p")

    assert code == 0
    plain = re.sub(r"\d+\.\d\d s|\d+ kB|\b01[0-9a-f]{6}-[-0-9a-f]+|package-\w+", "?", stdout)
    assert re.sub(r" +\n", "\n", plain) == SECOND_RUN.format(
        database=machine.database, media=machine.media
    )
    assert machine.calls() == 2 * ENCODED_ONE_CLIP
    assert (machine.media / "episode-2" / Path(first["output"]).name).is_file()
    assert state(machine.media / "clips/clip-1.mp4") == source
    assert state(Path(first["output"])) == package


SECOND_RUN = """\
Database   {database}, up to date
Admin      user admin, its password as before (--reset-password: a new one)
Worker     manage.py runworker: a django-q2 cluster, 2 processes for functions
Clips      1 in {media}/episode-2
Started    encode_episode ?

  @workflow
  async def encode_episode(clips: list[str], quality: str) -> str:
      \"\"\"Encodes clips, and returns the path of a package with their thumbnails.\"\"\"
      videos = await gather(*[encode_video(clip, quality) for clip in clips])
      print(f"{{len(videos)}} videos encoded in {{quality}}")

      thumbnails = await gather(*[generate_thumbnail(video) for video in videos])
      print(f"{{len(thumbnails)}} thumbnails made")

      return await create_package(videos, thumbnails)

  encode_video        ━━━━━━━━━━━━━━━━  1 of 1  ?
  generate_thumbnail  ━━━━━━━━━━━━━━━━  1 of 1  ?
  create_package      ━━━━━━━━━━━━━━━━  1 of 1  ?

Completed in ?
Package    {media}/episode-2/?.zip (?)

Next:
  manage.py demo --serve   approve the package in the admin
  manage.py demo --resume  after a kill -9 in the middle: finishes the rest
"""


def test_a_killed_demo_is_resumed(machine, clips):
    clips("small", "long")
    demo = Demo(machine, ["--clips=2", "--quality=480p"], {})
    demo.until_encoding()
    demo.end(signal.SIGKILL)
    folder = machine.media / "episode-1"
    done = state(folder / "clip-1.480p.mp4")
    assert machine.calls() == [("encode_video", "completed", 1), ("encode_video", "submitted", 1)]
    [(execution_id,)] = machine.query("SELECT id FROM durable_monty_execution")

    code, stdout, stderr = machine.run("--resume", "--json")

    assert code == 0, stderr
    [package] = folder.glob("*.zip")
    assert report(stdout) == {
        "execution": str(uuid.UUID(str(execution_id))),
        "status": "completed",
        "output": str(package),
    }
    assert state(folder / "clip-1.480p.mp4") == done
    assert machine.calls() == [
        ("encode_video", "completed", 1),
        ("encode_video", "completed", 2),
        ("generate_thumbnail", "completed", 1),
        ("generate_thumbnail", "completed", 1),
        ("create_package", "completed", 1),
    ]
    assert "1 retried" in stderr

    code, stdout, stderr = machine.run("--resume", "--json")

    assert (code, report(stdout)) == (1, NOTHING)
    assert stderr.endswith(
        "CommandError: There is nothing to resume: no encode_episode is unfinished.\n"
    )


def test_ctrl_c_ends_all_in_order(machine, clips):
    clips("small", "long")
    demo = Demo(machine, ["--clips=2", "--quality=480p", "--json"], {})
    demo.until_encoding()

    assert demo.end(signal.SIGINT) == 130, demo
    assert report(demo.stdout)["status"] == "waiting"
    assert demo.stderr.endswith(
        "\nInterrupted. What is running may end; Ctrl-C again stops it.\n"
        "  manage.py demo --resume  goes on with it\n"
    )


def test_a_worker_that_dies_is_reported(machine, clips):
    clips("small", "long")
    demo = Demo(machine, ["--clips=2", "--quality=480p", "--json"], {})
    demo.until_encoding()
    [worker] = [
        pid
        for pid, command in machine.processes().items()
        if "runworker" in command and process_facts(pid)[1] == str(demo.popen.pid)
    ]
    os.kill(worker, signal.SIGKILL)

    assert demo.end() == 1, demo
    assert report(demo.stdout)["status"] == "waiting"
    log = machine.media / "logs/worker.log"
    message = f"CommandError: runworker ended unexpectedly (signal 9). The end of {log}:\n"
    _before, _message, tail = demo.stderr.partition(message)
    assert "worker started" in tail


def test_a_failed_execution_is_reported(machine, clips):
    clips("small")
    (machine.media / "clips/clip-1.mp4").write_bytes(b"no video")

    code, stdout, stderr = machine.run("--json", "--clips=1")

    assert code == 1
    [(execution,)] = machine.query("SELECT id FROM durable_monty_execution")
    failed = {"execution": str(uuid.UUID(str(execution))), "status": "failed", "output": None}
    assert report(stdout) == failed
    error = (
        r"CommandError: encode_episode failed: ValueError: clip-1\.mp4 cannot be read as .+\.\n"
    )
    assert re.search(f"{error}$", stderr), stderr


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its database is in this connection")
def test_a_query_that_was_cut_short_does_not_hide_the_status():
    lines = []
    demo = course.Demo(options=None, display=None, report=lines.append)
    demo.execution = runs.start_encoding([], "240p", Path("episode-1"))
    type(demo.execution).objects.update(status="waiting")
    connection.connection.close()

    demo._report()

    assert [json.loads(line)["status"] for line in lines] == ["waiting"]


@pytest.mark.django_db
def test_the_time_is_up():
    execution = runs.start_encoding([], "240p", Path("episode-1"))

    message = (
        "encode_episode was still scheduled after 0.01 s (--timeout). "
        "demo --resume goes on with it."
    )
    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        runs.follow(execution, [], Display(json=True, color=False), 0.01)


def test_a_review_waits_for_a_person_beyond_the_end_of_the_demo(machine, clips):
    clips("small")
    options = ["--serve", "--port=0", "--json"]
    demo = Demo(machine, [*options, "--clips=1", "--quality=240p"], {})
    links = invitation(demo)
    encoded = report(demo.stdout)
    assert encoded["status"] == "completed"
    assert fetched(links["Look"]) == Path(encoded["output"]).read_bytes()
    [password] = set(re.findall(r"password (\S+)", demo.stderr))
    assert demo.end(signal.SIGINT) == 0, demo
    assert demo.stderr.endswith("\n  manage.py demo --serve --resume  comes back to it\n")

    demo = Demo(machine, [*options, "--resume"], {})
    links = invitation(demo)
    [(review,)] = machine.query(
        "SELECT id FROM durable_monty_execution WHERE name = 'review_episode'"
    )
    waiting = {"execution": str(uuid.UUID(str(review))), "status": "waiting", "output": None}
    assert report(demo.stdout) == waiting
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    submit(browser, links["Answer"], username="admin", password=password)
    submit(browser, links["Answer"], outcome="complete", result="true", reason="")

    said = "review_episode completed: approved by admin.\n"
    demo.until(lambda: said in demo.stderr, "the demo noticed the answer")
    assert demo.end(signal.SIGTERM) == 143, demo


def invitation(demo):
    demo.until(lambda: "\nAs  " in demo.stderr, "the links are printed")
    return dict(re.findall(r"^(Look|Answer) +(http\S+)", demo.stderr, re.MULTILINE))


def fetched(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


def submit(browser, url, **fields):
    """Fills in the form that the admin shows there; it leads to `url` again."""
    with browser.open(url) as response:
        page, action = response.read().decode(), response.url
    [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
    data = urlencode({"csrfmiddlewaretoken": token, **fields}).encode()
    with browser.open(action, data) as response:
        assert response.url == url


def process_facts(pid):
    """(state, parent, session)"""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return facts[0], facts[1], facts[3]


def test_it_is_for_development_only(machine):
    code, stdout, stderr = machine.run("--json", DEBUG="False")

    assert (code, report(stdout)) == (1, NOTHING)
    assert stderr == (
        "CommandError: demo makes an admin and prints its password, so it runs only with "
        "DEBUG=True.\n"
    )
    assert not machine.media.exists()


def test_a_database_out_of_reach(tmp_path, machine):
    machine.environment["DATABASE_URL"] = f"sqlite:///{tmp_path}/missing/db.sqlite3"

    code, stdout, stderr = machine.run("--json")

    assert (code, report(stdout)) == (1, NOTHING)
    assert stderr == ("CommandError: The database cannot be used: unable to open database file\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips=0"], "Error: argument --clips: '0' is not a number from 1 to 100."),
        (["--timeout=x"], "argument --timeout: 'x' is not a positive number of seconds."),
        (["--resume", "--clips=2"], "--resume goes on with the clips and the quality that it"),
    ],
)
def test_wrong_options(options, message, settings):
    settings.DEBUG = True
    with pytest.raises(CommandError, match=re.escape(message)):
        call_command("demo", *options)


@pytest.mark.django_db
def test_the_password_is_told_when_it_is_set():
    password = preparation.ensure_admin(reset=False)
    assert User.objects.get(username="admin").check_password(password)
    assert User.objects.get(username="admin").is_superuser

    assert preparation.ensure_admin(reset=False) is None
    assert User.objects.get(username="admin").check_password(password)

    other = preparation.ensure_admin(reset=True)
    assert other != password
    assert User.objects.get(username="admin").check_password(other)


def test_a_port_in_use():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        message = f"Port {port} is in use: choose another with --port (0: any that is free)."
        with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
            free_port(port)
        assert free_port(None) != port
        assert free_port(0) > 0

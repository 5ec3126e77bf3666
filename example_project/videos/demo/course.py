"""The steps of a demo, from an empty machine to the package and its approval."""

import inspect
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error, connection

from durable_monty import codec
from durable_monty.models import Execution, ExecutionStatus
from example_project.videos.demo import preparation, runs
from example_project.videos.demo.approval import Approval, login
from example_project.videos.demo.children import HOST, Child, free_port
from example_project.videos.demo.display import Display, short, size_of
from example_project.videos.files import media_path
from example_project.videos.workflows import encode_episode

CLIPS, QUALITY = 3, "480p"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command. `port` None is 8000 or the next free port; `timeout` is the
    time for the encoding in seconds."""

    clips: int | None
    quality: str | None
    resume: bool
    serve: bool
    port: int | None
    timeout: float
    reset_password: bool


class Demo:
    """Runs the demo. It calls `report` with the line that `--json` prints."""

    def __init__(
        self, options: Options, display: Display, report: Callable[[str], object]
    ) -> None:
        self.options, self.display, self.report = options, display, report
        self.execution: Execution | None = None

    def run(self) -> None:
        """Runs all steps. Raises CommandError if the execution does not complete."""
        with ExitStack() as stack:
            try:
                self._run(stack)
            except KeyboardInterrupt:
                self.display.say("\nInterrupted. What is running may end; Ctrl-C again stops it.")
                if self.execution is not None:
                    self.display.hint("demo --resume", "goes on with it")
                raise
            with self.display.busy("Ending the worker"):
                stack.close()

    def _run(self, stack: ExitStack) -> None:
        try:
            self._check()
            port = free_port(self.options.port) if self.options.serve else None
            password = self._prepare()
            self.execution = self._unfinished() if self.options.resume else None
            children = self._start_children(stack, port)
            self.execution = self.execution or self._start()
            begun = "Resumed" if self.options.resume else "Started"
            self.display.fact(begun, f"{self.execution.name} {self.execution.pk}")
            if self.execution.name == runs.ENCODE:
                self._encode(self.execution, children)
        finally:
            self._report()
        if port is None:
            self._say_what_is_next()
        else:
            Approval(self.display, children, port, password).ask(self.execution)

    def _check(self) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "demo makes an admin and prints its password, so it runs only with DEBUG=True."
            )
        if self.options.resume and (self.options.clips or self.options.quality):
            raise CommandError("--resume goes on with the clips and the quality that it finds.")

    def _prepare(self) -> str | None:
        """Prepares the database, and returns the password of the admin if it is new."""
        with self.display.busy("Migrating the database"):
            migrated = preparation.migrate()
        name = f"{connection.display_name} {short(str(connection.settings_dict['NAME']))}"
        done = f"{migrated} migrations applied" if migrated else "up to date"
        self.display.fact("Database", f"{name}, {done}")
        password = preparation.ensure_admin(reset=self.options.reset_password)
        self.display.fact("Admin", *login(password))
        return password

    def _unfinished(self) -> Execution:
        names = [runs.ENCODE, runs.REVIEW] if self.options.serve else [runs.ENCODE]
        return runs.newest_unfinished(names)

    def _start_children(self, stack: ExitStack, port: int | None) -> list[Child]:
        """Starts the worker, and the site if it has a port."""
        logs = media_path("logs")
        logs.mkdir(parents=True, exist_ok=True)
        children = [Child(logs / "worker.log", "runworker")]
        if port is not None:
            options = ["--noreload", "--skip-checks", f"{HOST}:{port}"]
            children.append(Child(logs / "site.log", "runserver", *options))
        for child in children:
            stack.enter_context(child)
        number = settings.Q_CLUSTER["workers"]
        self.display.fact(
            "Worker", f"manage.py runworker: a django-q2 cluster, {number} processes for functions"
        )
        return children

    def _start(self) -> Execution:
        with self.display.busy("Drawing clips, as there are none yet"):
            clips = preparation.ensure_clips(self.options.clips or CLIPS)
        folder = preparation.new_folder()
        made = f", {clips.made} drawn" if clips.made else ""
        self.display.fact("Clips", f"{len(clips.paths)} in {short(folder)}{made}")
        return runs.start_encoding(clips.paths, self.options.quality or QUALITY, folder)

    def _encode(self, execution: Execution, children: list[Child]) -> None:
        self.display.source(inspect.getsource(encode_episode.func))
        progress = runs.follow(execution, children, self.display, self.options.timeout)
        done = progress.execution
        if done.status != ExecutionStatus.COMPLETED or done.output is None:
            raise CommandError(
                f"{done.name} {done.status}: {done.error_type}: {done.error_message}"
            )
        package = Path(codec.decode(done.output))
        self.display.say()
        self.display.success("Completed", f" in {progress.seconds or 0:.2f} s")
        self.display.fact("Package", short(package), f" ({size_of(package)})")

    def _report(self) -> None:
        """Reports the present status, also after an error or an interrupt."""
        facts: dict[str, str | None] = {"execution": None, "status": None, "output": None}
        if execution := self.execution:
            connection.close()  # an interrupt may have cut a query short
            try:
                execution.refresh_from_db(fields=["status", "output"])
            except Error:
                self.display.say("The database is out of reach; this is the last known status.")
            facts |= {"execution": str(execution.pk), "status": execution.status}
            if execution.output is not None:
                facts["output"] = codec.decode(execution.output)
        self.report(json.dumps(facts))

    def _say_what_is_next(self) -> None:
        self.display.say()
        self.display.say("Next:")
        self.display.hint("demo --serve ", "approve the package in the admin")
        self.display.hint("demo --resume", "after a kill -9 in the middle: finishes the rest")

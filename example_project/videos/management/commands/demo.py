import math
import signal
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from example_project.videos.demo.course import CLIPS, QUALITY, Demo, Options
from example_project.videos.demo.display import Display
from example_project.videos.media import HEIGHTS


class Command(BaseCommand):
    help = """Encodes clips with the durable workflow encode_episode, on an empty machine too. It
migrates, makes an admin, starts a worker and shows what happens. Exit code 0: completed."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--clips", type=_clips, metavar="N", help=f"Default: {CLIPS}.")
        parser.add_argument("--quality", choices=HEIGHTS, help=f"Default: {QUALITY}.")
        parser.add_argument(
            "--resume",
            action="store_true",
            help="Finish the newest run that was cut off.",
        )
        parser.add_argument(
            "--serve",
            action="store_true",
            help="Then run review_episode, which waits for your approval in the admin, and leave "
            "worker and site running until Ctrl-C.",
        )
        parser.add_argument(
            "--port", type=int, help="Of the site. Default: 8000, or the next that is free."
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help='One line on stdout, {"execution": ..., "status": ..., "output": ...}; all else '
            "goes to stderr.",
        )
        parser.add_argument(
            "--timeout",
            type=_seconds,
            default=300.0,
            metavar="SECONDS",
            help="For the encoding. Default: %(default)g.",
        )
        parser.add_argument(
            "--reset-password", action="store_true", help="Give the admin a new password."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        json: bool = options["json"]
        display = Display(json=json, color=_color(options))
        demo = Demo(
            Options(
                clips=options["clips"],
                quality=options["quality"],
                resume=options["resume"],
                serve=options["serve"],
                port=options["port"],
                timeout=options["timeout"],
                reset_password=options["reset_password"],
            ),
            display,
            self._print if json else _ignore,
        )
        with _ending_in_order():
            try:
                demo.run()
            except Error as exc:
                raise CommandError(f"The database cannot be used: {exc}".rstrip()) from exc
            except KeyboardInterrupt:
                raise SystemExit(128 + signal.SIGINT) from None

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Ends the children too when the demo gets SIGTERM, or its terminal closes."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    # Ignored: by nohup, for example.
    wanted = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in wanted:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in wanted:
            signal.signal(number, before[number])


def _color(options: dict[str, Any]) -> bool | None:
    if options["no_color"]:
        return False
    return True if options["force_color"] else None


def _ignore(line: str) -> None:
    """Is the report without --json."""


def _clips(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to 100.")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a positive number of seconds.")
    return value

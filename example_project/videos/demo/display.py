"""The output of a demo. Without a terminal it has the same lines, and nothing moves."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

LABEL_WIDTH = 10

# A text, or a text and its style.
Part = str | tuple[str, str]


class Display:
    def __init__(self, *, json: bool, color: bool | None) -> None:
        """Writes to stderr if `json` is set. The terminal decides about colours if `color` is
        None."""
        self.console = Console(
            file=sys.stderr if json else sys.stdout,
            highlight=False,
            no_color=True if color is False else None,
            force_terminal=True if color else None,
        )

    def say(self, *parts: Part) -> None:
        # Long paths stay in one piece, to be clicked or copied.
        self.console.print(Text.assemble(*parts), soft_wrap=True)

    def fact(self, label: str, *parts: Part) -> None:
        self.say((f"{label:<{LABEL_WIDTH}}", "cyan"), " ", *parts)

    def success(self, what: str, *parts: Part) -> None:
        self.say((what, "bold green"), *parts)

    def hint(self, command: str, why: str) -> None:
        self.say(f"  manage.py {command}", (f"  {why}", "dim"))

    def source(self, code: str) -> None:
        self.say()
        highlighted = Syntax("", "python", theme="ansi_dark").highlight(code.strip())
        for line in highlighted.split():
            self.console.print(Text("  ") + line if line else "", soft_wrap=True)
        self.say()

    @contextmanager
    def live(self) -> Iterator[Live]:
        with Live(console=self.console, auto_refresh=False) as live:
            yield live
        if not self.console.is_terminal:
            self.console.line()  # which Live leaves out there

    def busy(self, what: str) -> AbstractContextManager[object]:
        return self.console.status(what)


def short(path: Path | str) -> str:
    """Returns the path relative to the current folder, if it is below it."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def size_of(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"

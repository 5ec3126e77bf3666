"""Markdown whose code blocks are run.

In each document, in order and in one namespace:

    ```python   is run; with a path in its first line (`# shop/workflows.py`) it is written
                there, below a temporary folder, and imported; `# settings.py` is checked
                as settings
    ```pycon    is run as a doctest, with `...` for what differs
    ```shell    names commands that exist, with options that they take
    ```diff     is applied to the settings of a new project (tests/docs/test_projects.py)
    ```text     is for people

and `<!-- test: statements -->`, which readers do not see; `begin_with("how-to/page.md")` in one
runs the blocks of another page first. After each block workers do what there is to do.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import itertools
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "durable_monty" / "docs"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
DOCUMENTS = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / ".github").glob("*.md")),
    *sorted((ROOT / "durable_monty").rglob("*.md")),
]
LANGUAGES = {"python", "pycon", "shell", "diff", "text", "ini", "dockerfile", "yaml"}

# Programs whose options nothing here can check.
UNCHECKED = set(". .ci/run django-admin git mypy pip pytest rq ruff uv uvicorn uvx".split())

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>\S*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)
_HIDDEN = re.compile(r"^<!-- test: ?(?P<text>.*?)-->$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# (?P<path>[\w/]+\.py)\b.*\n")


@dataclass(frozen=True, slots=True)
class Block:
    """`line`: that of the document in which `text` begins."""

    language: str
    text: str
    line: int

    @property
    def path(self) -> str | None:
        match = _PATH.match(self.text) if self.language == "python" else None
        return match["path"] if match else None


def blocks(document):
    text = document.read_text()
    found = [(m.start("text"), m["language"], m["text"]) for m in _FENCE.finditer(text)]
    found += [(m.start("text"), "hidden", m["text"]) for m in _HIDDEN.finditer(text)]
    return [
        Block(language, content, text.count("\n", 0, start) + 1)
        for start, language, content in sorted(found)
    ]


def of_language(document, language):
    return [block for block in blocks(document) if block.language == language]


class Runner:
    """Runs the blocks of one document. `check_settings` is called with the names that a settings
    block assigns, `after_each` after each block."""

    def __init__(self, document, folder, namespace, check_settings, after_each):
        self.document, self.folder, self.namespace = document, folder, namespace
        self.check_settings, self.after_each = check_settings, after_each
        namespace["begin_with"] = self._begin_with

    def run(self):
        for block in blocks(self.document):
            match block.language:
                case "python" if block.path == "settings.py":
                    self.check_settings(self._execute(block, {}))
                case "python" if block.path:
                    self._import(block)
                case "python" | "hidden":
                    self._execute(block, self.namespace)
                case "pycon":
                    self._test(block)
                case _:
                    continue
            self.after_each()
        return self.namespace

    def _begin_with(self, page):
        document = README if page == README.name else DOCS / page
        arguments = (self.folder, self.namespace, self.check_settings, self.after_each)
        Runner(document, *arguments).run()

    def _execute(self, block, namespace):
        # Errors show the document's own line.
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, self.document, "exec"), namespace)
        return namespace

    def _import(self, block):
        path = self.folder / block.path
        for parent in path.relative_to(self.folder).parents[:-1]:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
            (self.folder / parent / "__init__.py").touch()
        path.write_text(block.text)
        name = ".".join(path.relative_to(self.folder).with_suffix("").parts)
        importlib.invalidate_caches()
        assert name not in sys.modules
        importlib.import_module(name)

    def _test(self, block):
        test = doctest.DocTestParser().get_doctest(
            block.text, {}, self.document.name, str(self.document), block.line - 1
        )
        test.globs = self.namespace
        told = []
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        runner = doctest.DocTestRunner(verbose=False, optionflags=options)
        runner.run(test, out=told.append, clear_globs=False)
        assert not runner.summarize(verbose=False).failed, "".join(told)


def forget_modules(folder):
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)) or (
            str(folder) in str(getattr(module, "__path__", ""))
        ):
            del sys.modules[name]


def check_command(line):
    """Whether a line of a shell block would find its command and take its options."""
    words = itertools.dropwhile(_is_assignment, shlex.split(line, comments=True))
    program, *arguments = words
    program = program.rpartition("/.venv/bin/")[2]
    if program == "uv" and arguments[0] == "run":
        del arguments[0]
        while length := {"--group": 2, "--extra": 2, "--all-extras": 1}.get(arguments[0]):
            del arguments[:length]
        program, *arguments = arguments
    if program.startswith("python") and arguments[0] == "manage.py":
        _script, command, *options = arguments
        app = get_commands()[command]
        load_command_class(app, command).create_parser("manage.py", command).parse_args(options)
        return
    if program == "python" and arguments[:2] == ["-m", "venv"]:
        return
    if program == "python" and arguments[0] == "-m":
        _option, module, *options = arguments
        found = importlib.util.find_spec(module)
        name = f"{module}.__main__" if found and found.submodule_search_locations else module
        module = importlib.import_module(name)
        if options:
            module.parser().parse_args(options)
        return
    if program == "rq" and importlib.util.find_spec("rq"):
        command, *options = arguments
        importlib.import_module("rq.cli").main.commands[command].make_context(command, options)
        return
    assert program in UNCHECKED, f"{line!r} is not checked by anything"
    paths = [word for word in arguments if "/" in word] if program == "pytest" else []
    for path in paths:
        assert (ROOT / path).exists(), line


def _is_assignment(word):
    return re.fullmatch(r"[A-Z_]+=.*", word) is not None


def code(text):
    """The texts in backticks."""
    return re.findall(r"`([^`]+)`", text)


def tables(document):
    """The rows of the tables, as lists of cells, under the heading that they follow."""
    found = {}
    heading = ""
    for line in document.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found.setdefault(heading, []).append([cell.strip("|").strip() for cell in cells])
    return {heading: rows[2:] for heading, rows in found.items()}

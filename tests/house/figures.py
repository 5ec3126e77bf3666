"""Measures how the package reads: sizes, comments, and how often one thing is said.

Run `uv run python -m tests.house.figures` for the figures of each folder, or add a folder or
module of the package to see the private functions that are used once.
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "durable_monty"
_DIRECTIVES = ("# noqa", "# type:", "# pragma", "#!")


@dataclass
class Function:
    module: Path
    name: str
    line: int
    length: int
    annotated: bool
    uses: int

    @property
    def private(self) -> bool:
        return self.name.startswith("_") and not self.name.startswith("__")


@dataclass
class Figures:
    modules: dict[Path, int] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    comments: int = 0

    @property
    def lines(self) -> int:
        return sum(self.modules.values())

    def used_once(self) -> list[Function]:
        return [one for one in self.functions if one.private and one.uses == 1]


def measure(root: Path = PACKAGE, within: str = "") -> Figures:
    """Returns the figures of `root`, or of one folder or module below it."""
    figures = Figures()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if "migrations" in name.parts:
            continue
        source = path.read_text()
        tree = ast.parse(source)
        if within and not str(name).startswith(within):
            continue
        figures.modules[name] = len(source.splitlines())
        figures.functions += _functions(name, tree)
        figures.comments += sum(
            token.type == tokenize.COMMENT and not token.string.startswith(_DIRECTIVES)
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
        )
    return figures


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def words_of(path: Path) -> int:
    return len(re.findall(r"\S+", path.read_text()))


def report(figures: Figures) -> str:
    lengths = [one.length for one in figures.functions] or [0]
    modules = list(figures.modules.values()) or [0]
    return (
        f"{len(modules):5}{figures.lines:8}{int(statistics.median(modules)):8}{max(modules):6}"
        f"{int(statistics.median(lengths)):7} / {percentile(lengths, 0.95):<4}"
        f"{100 * sum(one.annotated for one in figures.functions) / len(lengths):7.0f}%"
        f"{100 * figures.comments / max(figures.lines, 1):9.1f}"
        f"{len(figures.used_once()):7} = {100 * len(figures.used_once()) / len(lengths):4.1f}%"
    )


def _functions(module: Path, tree: ast.Module) -> list[Function]:
    used = _names_used(tree)
    return [
        Function(
            module,
            node.name,
            node.lineno,
            (node.end_lineno or node.lineno) - node.lineno + 1,
            node.returns is not None or node.name == "__init__",
            used[node.name],
        )
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def _names_used(tree: ast.Module) -> Counter[str]:
    used: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            used[node.id] += 1
        elif isinstance(node, ast.Attribute):
            used[node.attr] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used[node.value] += 1
    return used


def main(within: str = "", root: Path = PACKAGE) -> None:
    print(f"{'':22}{'files':>5}{'lines':>8}{'median':>8}{'max':>6}{'function':>14}", end="")
    print(f"{'annotated':>9}{'# / 100':>9}{'private, used once':>20}")
    whole = measure(root, within)
    if within:
        for one in whole.used_once():
            print(f"  {one.length:4} lines  {one.module}:{one.line}  {one.name}")
    else:
        for folder in sorted(path.name for path in root.iterdir() if path.is_dir()):
            part = measure(root, f"{folder}/")
            if part.modules:
                print(f"{folder:22}{report(part)}")
    print(f"{within or 'durable_monty':22}{report(whole)}")
    for name, lines in whole.modules.items():
        if lines > 300:
            print(f"  over 300 lines: {name} ({lines})")
    readme = root.parent / "README.md"
    if not within:
        print(f"README.md: {len(readme.read_text().splitlines())} lines, {words_of(readme)} words")


if __name__ == "__main__":
    main(*sys.argv[1:2])

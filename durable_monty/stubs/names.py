"""Hands out the names that stubs use."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Iterator


class Names:
    """The names of one text of stubs. `taken` are those of the workflow, which come first."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {*taken, "__all__"}
        self._imports: dict[tuple[str, str], str] = {}

    def new(self, wanted: str) -> str:
        """Returns a name that is not given yet and is no builtin, as like `wanted` as can be."""
        name, number = wanted, 1
        while name in self._taken or hasattr(builtins, name) or keyword.iskeyword(name):
            number += 1
            name = f"{wanted}{number}"
        self._taken.add(name)
        return name

    def imported(self, module: str, name: str) -> str:
        """Returns the name of a member of a module, which it imports."""
        if module == "builtins" and name not in self._taken:
            return name
        if (module, name) not in self._imports:
            self._imports[module, name] = self.new(name)
        return self._imports[module, name]

    def import_lines(self) -> Iterator[str]:
        modules: dict[str, list[str]] = {}
        for (module, name), known_as in sorted(self._imports.items()):
            renamed = "" if name == known_as else f" as {known_as}"
            modules.setdefault(module, []).append(f"{name}{renamed}")
        for module, names in modules.items():
            yield f"from {module} import {', '.join(names)}"

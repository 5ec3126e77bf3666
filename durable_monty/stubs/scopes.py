"""Resolves annotations that are text, in the place where they were written."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ForwardRef

from durable_monty.stubs.guarded import guarded_names


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that an annotation can use: `own`, then those of the module, then builtins.

    `known` are those of the module, if they are at hand.
    """

    module: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] | None = None

    def resolve(self, annotation: Any) -> Any:
        """Returns what the text of an annotation means.

        A name that nothing defines is Any. Raises whatever the text raises.
        """
        text, module, known = annotation, self.module, self.known
        if isinstance(annotation, ForwardRef):
            text = annotation.__forward_arg__
            named = getattr(annotation, "__forward_module__", None)
            if isinstance(named, str) and named != module:
                module, known = named, None
        if not isinstance(text, str):
            return annotation
        if known is None:
            known = vars(sys.modules.get(module) or builtins)
        return eval(text, dict(known), _Names(self.own, known, module))  # noqa: S307  (of the project)


class _Names(dict[str, Any]):
    def __init__(self, own: Mapping[str, Any], known: Mapping[str, Any], module: str) -> None:
        super().__init__(own)
        self._known, self._module = known, module

    def __missing__(self, name: str) -> Any:
        if name in self._known or hasattr(builtins, name):
            raise KeyError(name)  # eval() looks there next
        return guarded_names(self._module).get(name, Any)

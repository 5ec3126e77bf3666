from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from typing import Any, NamedTuple, Self

from durable_monty.converters.annotations import converter_of, signature_of
from durable_monty.converters.misfit import Convert, Misfit
from durable_monty.exceptions import WrongArgument, WrongResult

Parameter = tuple[str, Convert | None]
Arguments = tuple[Sequence[Any], Mapping[str, Any]]

_NONE: Parameter = ("", None)


class Conversion:
    """Makes instances of what a function is called with, and of a result that another has given.

    The annotations of `func` are read at the first use: they may name classes that come later.
    """

    def __init__(self, func: Callable[..., Any], name: str) -> None:
        self.func, self.name = func, name.rpartition(".")[2]
        self._converters: _Converters | None = None

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Returns the arguments with instances of the annotated classes.

        Raises `WrongArgument`, and what the constructors of these classes raise.
        """
        converters = self._converters or self._read()
        if not converters.takes_instances:
            return args, kwargs
        (rest, convert_rest), (_name, convert_other) = converters.others
        more = ((f"{rest}[{at}]", convert_rest) for at in count())
        return (
            [
                self._made(convert, name, value)
                for (name, convert), value in zip(
                    chain(converters.positions, more), args, strict=False
                )
            ],
            {
                name: self._made(converters.keywords.get(name, convert_other), name, value)
                for name, value in kwargs.items()
            },
        )

    @property
    def has_result(self) -> bool:
        """Whether the annotation of the result names a class that `returned` makes."""
        return (self._converters or self._read()).result is not None

    def returned(self, value: Any) -> Any:
        """Returns a result with instances of the annotated class.

        Raises `WrongResult`, also for what the constructor of the class raises.
        """
        convert = (self._converters or self._read()).result
        try:
            return value if convert is None else convert(value, "result")
        except Misfit as misfit:
            raise WrongResult(self.name, str(misfit)) from None
        except Exception as exc:
            raise WrongResult(self.name, f"{type(exc).__name__}: {exc}") from exc

    def _made(self, convert: Convert | None, name: str, value: Any) -> Any:
        try:
            return value if convert is None else convert(value, name)
        except Misfit as misfit:
            raise WrongArgument(self.name, str(misfit)) from None
        except Exception as exc:
            exc.add_note(f"Raised while {self.name}() got its argument {name}.")
            raise

    def _read(self) -> _Converters:
        self._converters = _Converters.of(self.func)
        return self._converters


class _Converters(NamedTuple):
    """The converters of a function's parameters; `others` are those of `*args` and `**kwargs`."""

    positions: tuple[Parameter, ...] = ()
    keywords: Mapping[str, Convert | None] = {}
    others: tuple[Parameter, Parameter] = (_NONE, _NONE)
    result: Convert | None = None
    takes_instances: bool = False

    @classmethod
    def of(cls, func: Callable[..., Any]) -> Self:
        try:
            signature = signature_of(func)
        except (TypeError, ValueError):  # written in C
            return cls()
        scope = getattr(inspect.unwrap(func), "__globals__", {})
        kinds = inspect.Parameter
        found: dict[Any, list[Parameter]] = {}
        for each in signature.parameters.values():
            found.setdefault(each.kind, []).append(
                (each.name, converter_of(each.annotation, scope))
            )
        by_either = found.get(kinds.POSITIONAL_OR_KEYWORD, [])
        [rest] = found.get(kinds.VAR_POSITIONAL, [_NONE])
        [other] = found.get(kinds.VAR_KEYWORD, [_NONE])
        return cls(
            (*found.get(kinds.POSITIONAL_ONLY, ()), *by_either),
            dict([*by_either, *found.get(kinds.KEYWORD_ONLY, ())]),
            (rest, other),
            converter_of(signature.return_annotation, scope),
            any(convert for group in found.values() for _name, convert in group),
        )

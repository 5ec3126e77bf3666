"""Registers the functions that workflows may call. `discovery` finds them.

A worker serves only the functions of `FUNCTION_REGISTRY`: those that `@register_function`
decorates, and the public functions of the modules in `DURABLE_MONTY["FUNCTION_MODULES"]`, under
their dotted path. It never imports a name that it found in a row.
"""

from __future__ import annotations

import builtins
import difflib
import inspect
import keyword
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload

from asgiref.sync import async_to_sync

from durable_monty import conf
from durable_monty.converters import Conversion
from durable_monty.exceptions import (
    DuplicateFunction,
    FunctionError,
    UnknownFunction,
    WrongUrlFunction,
)
from durable_monty.executors.http.remote_function import remote_function
from durable_monty.policy import NO_TIMEOUTS, CallPolicy, Retry, Timeouts
from durable_monty.text_limits import MAX_NAME

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_EXECUTOR = "default"
MANUAL_EXECUTOR = "manual"
HTTP_EXECUTOR = "http"


@dataclass(frozen=True, slots=True)
class RegisteredFunction:
    """A function and its policy.

    `executor` names the executor that runs its calls: "default" (the worker's own), "manual"
    (people answer), or an executor's `name`. `admin` lets workflows that are written in the admin
    call it. `url` is the address to which the executor "http" sends its calls.
    """

    name: str
    func: Callable[..., Any]
    executor: str = DEFAULT_EXECUTOR
    retry: Retry | None = None
    timeouts: Timeouts = NO_TIMEOUTS
    transactional: bool = False
    admin: bool = False
    url: str | None = None
    is_async: bool = field(init=False)
    policy: CallPolicy = field(init=False, repr=False, compare=False)
    conversion: Conversion = field(init=False, repr=False, compare=False)
    # The object in its place after the import: an outer decorator may have put it there.
    _at_rest: Any = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.func))
        policy = CallPolicy(self.executor, self.retry, self.timeouts, self.transactional)
        object.__setattr__(self, "policy", policy)
        object.__setattr__(self, "conversion", Conversion(self.func, self.name))

    @property
    def place(self) -> str:
        return f"{self.func.__module__}.{self.func.__qualname__}"

    @property
    def current(self) -> Callable[..., Any]:
        """The function, or what a test has put in its place, as `mock.patch` does.

        The object that an outer decorator put there during the import is not called.
        """
        func = self.func
        found: Callable[..., Any] = getattr(
            sys.modules.get(func.__module__), func.__qualname__, func
        )
        if found is func or found is self._at_rest:
            return func
        is_decorated = self._at_rest is None and inspect.unwrap(found) is func
        return func if is_decorated else found

    def note_place(self) -> None:
        """Notes the object that is in the function's place after the import."""
        module = sys.modules.get(self.func.__module__)
        at_rest = getattr(module, self.func.__qualname__, None)
        object.__setattr__(self, "_at_rest", at_rest)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function; an `async def` runs to its end, with Django's thread rules."""
        given, named = self.conversion.arguments(args, kwargs)
        func = self.current
        is_async = self.is_async if func is self.func else inspect.iscoroutinefunction(func)
        return async_to_sync(func)(*given, **named) if is_async else func(*given, **named)


class FunctionRegistry(Mapping[str, RegisteredFunction]):
    """Maps names to registered functions; dotted names are those of `FUNCTION_MODULES`."""

    def __init__(self) -> None:
        self._functions: dict[str, RegisteredFunction] = {}
        self.version = 0  # another one after each change

    def __getitem__(self, name: str) -> RegisteredFunction:
        return self._functions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    def add(self, function: RegisteredFunction) -> None:
        """Adds a function. Raises `DuplicateFunction` if another place has the name already."""
        if len(function.name) > MAX_NAME:
            raise FunctionError(
                f"The function name {function.name[:60]!r}... has {len(function.name)} "
                f"characters; at most {MAX_NAME} can be stored."
            )
        known = self._functions.get(function.name)
        if known is not None and known.place != function.place:
            raise DuplicateFunction(function.name, known.place, function.place)
        self._functions[function.name] = function
        self.version += 1

    def __setitem__(self, name: str, func: Callable[..., Any]) -> None:
        """Registers `func` under `name` with the default policy, as `register_function` does."""
        register_function(name)(func)

    def remove(self, name: str) -> None:
        del self._functions[name]
        self.version += 1

    def named(self, func: Callable[..., Any]) -> RegisteredFunction | None:
        """Returns the entry of a function object; a decorated name wins over a dotted path."""
        entries = [
            entry
            for entry in self._functions.values()
            if entry.func is func or entry.current is func
        ]
        return min(entries, key=lambda entry: "." in entry.name, default=None)

    def served_by(self, executors: Iterable[str]) -> list[str]:
        """Returns the names of the functions whose calls belong to one of `executors`."""
        wanted = set(executors)
        return [entry.name for entry in self._functions.values() if entry.executor in wanted]


FUNCTION_REGISTRY = FunctionRegistry()
_UNREGISTERED = CallPolicy(DEFAULT_EXECUTOR, is_registered=False)


class HasFunction(Protocol):
    @property
    def function(self) -> str: ...


def policy_of(call: HasFunction) -> CallPolicy:
    """Returns how a call is run, as far as this process knows its function."""
    entry = FUNCTION_REGISTRY.get(call.function)
    return _UNREGISTERED if entry is None else entry.policy


@overload
def register_function(name: F, /) -> F: ...
@overload
def register_function(
    name: str | None = None,
    /,
    *,
    executor: str = DEFAULT_EXECUTOR,
    retry: Retry | None = None,
    schedule_to_start: float | None = None,
    start_to_close: float | None = None,
    heartbeat: float | None = None,
    schedule_to_close: float | None = None,
    transactional: bool = False,
    admin: bool = False,
    url: str | None = None,
) -> Callable[[F], F]: ...
def register_function(
    name: str | Callable[..., Any] | None = None,
    /,
    *,
    executor: str = DEFAULT_EXECUTOR,
    retry: Retry | None = None,
    schedule_to_start: float | None = None,
    start_to_close: float | None = None,
    heartbeat: float | None = None,
    schedule_to_close: float | None = None,
    transactional: bool = False,
    admin: bool = False,
    url: str | None = None,
) -> Any:
    """Lets workflows call the decorated function, sync or `async def`, under `name`.

    The function runs at least once for each call: make it safe to run again.

    `executor="manual"` leaves its calls to people (the admin, or
    `OrchestratorService.complete_call`). `retry` says when it runs again after an exception
    (default: `DURABLE_MONTY["RETRY"]`). The four time-outs are seconds, see `Timeouts`.
    `transactional=True` runs it in the transaction that records its answer, so that its writes to
    this database happen exactly once. `admin=True` offers it to workflows that staff write in the
    admin. `url` makes the executor "http" send each call there; the decorated function has only
    the signature, and raises `RunsElsewhere` when it is called.

    Raises `DuplicateFunction`, `FunctionError` for a name that cannot be used, and `UrlNotAllowed`
    for a malformed URL.
    """
    if callable(name):
        return register_function()(name)
    timeouts = Timeouts(schedule_to_start, start_to_close, heartbeat, schedule_to_close)

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        checked, runs_by = _checked_name(name or func.__name__), executor
        if url is not None:
            if executor not in (DEFAULT_EXECUTOR, HTTP_EXECUTOR) or transactional:
                raise WrongUrlFunction(checked)
            runs_by, func = HTTP_EXECUTOR, remote_function(func, checked, url)
        FUNCTION_REGISTRY.add(
            RegisteredFunction(checked, func, runs_by, retry, timeouts, transactional, admin, url)
        )
        return func

    return decorate


def resolve_functions(given: Iterable[str | Callable[..., Any]]) -> dict[str, str]:
    """Maps each name that a workflow may call to a name in the registry.

    `given` holds registered names, dotted paths, or the functions themselves. Raises
    `UnknownFunction`, and `FunctionError` if two would have the same name.
    """
    if isinstance(given, str):
        raise FunctionError(
            f"external_functions must be a list of functions, not the string {given!r}."
        )
    resolved: dict[str, str] = {}
    for item in given:
        entry = _find(item)
        name = entry.name.rpartition(".")[2]
        if resolved.setdefault(name, entry.name) != entry.name:
            raise FunctionError(
                f"Two functions would be called {name!r} in the workflow: "
                f"{resolved[name]} and {entry.name}."
            )
    return resolved


def _checked_name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
        raise FunctionError(
            f"{name!r} cannot be called in a workflow: use a plain Python name, such as "
            "'send_invoice'."
        )
    if hasattr(builtins, name):
        raise FunctionError(
            f"{name!r} is a Python builtin, which a workflow calls itself: use another name."
        )
    return name


def _find(item: str | Callable[..., Any]) -> RegisteredFunction:
    if callable(item):
        if entry := FUNCTION_REGISTRY.named(item):
            return entry
        path = f"{item.__module__}.{getattr(item, '__qualname__', repr(item))}"
        raise UnknownFunction(path, _remedy(item.__module__))
    if entry := FUNCTION_REGISTRY.get(item):
        return entry
    module, _, attribute = item.rpartition(".")
    for entry in FUNCTION_REGISTRY.values():
        if module and entry.func.__module__ == module and entry.func.__name__ == attribute:
            return entry
    if module:
        raise UnknownFunction(item, _remedy(module))
    close = difflib.get_close_matches(item, FUNCTION_REGISTRY)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownFunction(
        item,
        f"{hint}no @register_function({item!r}) was found in "
        f"{searched()}. Known: {', '.join(sorted(FUNCTION_REGISTRY)) or 'none'}.",
    )


def _remedy(module: str) -> str:
    return (
        f"workers do not load it. Decorate it with @register_function in {searched()}, or add "
        f"{module!r} to DURABLE_MONTY['FUNCTION_MODULES']."
    )


def searched() -> str:
    name = conf.current().AUTODISCOVER
    return f"the {name}.py of an installed app" if name else "a module that workers import"

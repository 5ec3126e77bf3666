"""Reads the forms of annotations: what stands around a type, and for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar
from enum import Enum
from typing import Any, NewType, TypeVar, get_args, get_origin

Variables = Mapping[Any, Any]  # type variables and what stands for them
_WRAPPERS = {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar", "Annotated"}


def form_of(annotation: Any) -> str:
    """Returns the name of a form with arguments, such as Annotated; that of a class is its own."""
    origin = get_origin(annotation)
    return getattr(origin, "_name", "") or getattr(origin, "__name__", "")


def unwrapped(annotation: Any) -> Any:
    """Returns an annotation without what says nothing about the value."""
    while True:
        if isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, InitVar):
            annotation = annotation.type
        elif (args := get_args(annotation)) and form_of(annotation) in _WRAPPERS:
            annotation = args[0]
        else:
            return annotation


def stored(member: Enum) -> Any:
    """Returns a member of an Enum as the codec writes it: a subclass of str as its text."""
    if isinstance(member, str):
        return str.__str__(member)
    if isinstance(member, int):
        return int.__int__(member)
    return member.value


def substitute(annotation: Any, variables: Variables) -> Any:
    """Returns an annotation with the type variables replaced that `variables` knows."""
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if parameters and not isinstance(annotation, type):
        return annotation[tuple(variables.get(each, each) for each in parameters)]
    return annotation

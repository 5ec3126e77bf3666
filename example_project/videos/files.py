"""Files below `MEDIA_ROOT`. Nothing outside it is read, and no half-written file is visible."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from django.conf import settings


def media_path(name: str) -> Path:
    """Where `name`, relative to MEDIA_ROOT or absolute, lies.

    Raises ValueError if that is outside MEDIA_ROOT, be it by `..` or through a symbolic link:
    names come from workflows, which need not be trusted.
    """
    root = Path(settings.MEDIA_ROOT).resolve()
    path = Path(root, name).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"{name!r} is outside MEDIA_ROOT.")
    return path


def existing_file(name: str) -> Path:
    path = media_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {name!r} in MEDIA_ROOT.")
    return path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a new name beside `target`; what was written there becomes `target` at the end.

    Runs at the same time do not disturb each other: the last one to end wins, whole.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    try:
        yield part
        # Else a power cut could leave an empty file under the final name.
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

"""Prepares the database, the admin, the clips and the folder that a demo needs."""

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from example_project.videos.clips import make_clip
from example_project.videos.files import media_path

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Clips:
    paths: list[Path]
    made: int


def migrate() -> int:
    """Migrates, and returns the number of migrations that were missing."""
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        call_command("migrate", interactive=False, verbosity=0)
    return missing


def ensure_admin(*, reset: bool) -> str | None:
    """Makes the admin if there is none. Returns the password if one was set, for a new admin or on
    request."""
    password = secrets.token_urlsafe(9)
    user = User.objects.filter(username=ADMIN).first()
    if user is None:
        User.objects.create_superuser(ADMIN, password=password)
    elif reset:
        user.set_password(password)
        user.save(update_fields=["password"])
    else:
        return None
    return password


def ensure_clips(number: int) -> Clips:
    """Returns the source clips. The first use makes them."""
    paths, made = [], 0
    for index in range(1, number + 1):
        name = f"clips/clip-{index}.mp4"
        if not media_path(name).exists():
            made += 1
        paths.append(Path(make_clip(name, index=index)))
    return Clips(paths, made)


def new_folder() -> Path:
    """Makes and returns a folder below MEDIA_ROOT for this run alone."""
    for number in count(1):
        folder = media_path(f"episode-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def placed(clip: Path, folder: Path) -> str:
    """Puts the clip into `folder` and returns its path. Its products are written beside it."""
    target = folder / clip.name
    try:
        # Not a symbolic link: what is made of that lies beside the file it leads to.
        os.link(clip, target)
    except OSError:
        shutil.copy(clip, target)
    return str(target)

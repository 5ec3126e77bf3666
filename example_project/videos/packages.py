import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from example_project.videos.files import existing_file, replacing
from example_project.videos.media import image_facts, video_facts

CHUNK = 1 << 20


def create_package(videos: Sequence[str], thumbnails: Sequence[str]) -> str:
    """Zips the files with a `manifest.json` that tells name, size in bytes, SHA-256, width,
    height and, of videos, the duration in seconds.

    Returns the zip's path: in the folder that the files share, its name made of theirs; the same
    files give the same zip. Raises ValueError without a video, and for a file that is not what it
    should be; FileNotFoundError for a missing one.
    """
    video_paths = unique_files(videos)
    thumbnail_paths = unique_files(thumbnails)
    if not video_paths:
        raise ValueError("A package needs at least one video.")
    folder = Path(os.path.commonpath([path.parent for path in video_paths + thumbnail_paths]))
    names = {path: path.relative_to(folder).as_posix() for path in video_paths + thumbnail_paths}
    identity = hashlib.sha256("\n".join(names.values()).encode()).hexdigest()
    target = folder / f"package-{identity[:12]}.zip"
    with replacing(target) as part, ZipFile(part, "w") as archive:
        manifest = {
            "videos": [
                {"name": names[path], **video_facts(path), **add_file(archive, path, names[path])}
                for path in video_paths
            ],
            "thumbnails": [
                {"name": names[path], **image_facts(path), **add_file(archive, path, names[path])}
                for path in thumbnail_paths
            ],
        }
        archive.writestr(member("manifest.json"), json.dumps(manifest, indent=2))
    return str(target)


def unique_files(names: Sequence[str]) -> list[Path]:
    return list(dict.fromkeys(existing_file(name) for name in names))


def add_file(archive: ZipFile, path: Path, name: str) -> dict[str, int | str]:
    """Describes the bytes that were written, whatever happens to the file meanwhile."""
    info = member(name)
    info.file_size = path.stat().st_size
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as source, archive.open(info, "w") as copy:
        while chunk := source.read(CHUNK):
            size += copy.write(chunk)
            digest.update(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def member(name: str) -> ZipInfo:
    """Returns a member without the time of writing, so that the same files give the same zip."""
    info = ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info

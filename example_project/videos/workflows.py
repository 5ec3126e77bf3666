"""The workflows of the demo, and the functions that they call."""

from durable_monty import register_function
from example_project.videos import media, packages

# Inputs: clips (paths) and quality. Output: the path of the package.
ENCODE_EPISODE = """\
from asyncio import gather

videos = await gather(*[encode_video(clip, quality) for clip in clips])
print(f"{len(videos)} videos encoded in {quality}")

thumbnails = await gather(*[generate_thumbnail(video) for video in videos])
print(f"{len(thumbnails)} thumbnails made")

await create_package(videos, thumbnails)
"""

# Input: package (a path). Output: the package, and whether a person approved it.
REVIEW_EPISODE = """\
approved = await approve_package(package)
status = "approved" if approved else "rejected"
print(f"The package was {status}")

{"status": status, "package": package}
"""


@register_function("encode_video")
def encode_video(path: str, quality: str) -> str:
    """Encodes a video as "240p", "480p", "720p" or "1080p". Returns the path of the new file."""
    return media.encode_video(path, quality)


@register_function("generate_thumbnail")
def generate_thumbnail(path: str) -> str:
    """Makes a JPEG of a frame of a video. Returns its path."""
    return media.generate_thumbnail(path)


@register_function("create_package")
def create_package(videos: list[str], thumbnails: list[str]) -> str:
    """Zips videos and thumbnails with a manifest. Returns the path of the zip."""
    return packages.create_package(videos, thumbnails)


@register_function("approve_package", executor="manual", admin=True)
def approve_package(package: str) -> bool:
    """Look into the package: may it be published?"""
    raise NotImplementedError("A person answers this call.")

"""The workflows of the demo, and the functions that they call."""

from asyncio import gather, to_thread

from durable_monty import register_function, workflow
from example_project.videos import media, packages


@register_function
async def encode_video(path: str, quality: str) -> str:
    """Encodes a video as "240p", "480p", "720p" or "1080p". Returns the path of the new file."""
    return await to_thread(media.encode_video, path, quality)


@register_function
async def generate_thumbnail(path: str) -> str:
    """Makes a JPEG of a frame of a video. Returns its path."""
    return await to_thread(media.generate_thumbnail, path)


@register_function
async def create_package(videos: list[str], thumbnails: list[str]) -> str:
    """Zips videos and thumbnails with a manifest. Returns the path of the zip."""
    return await to_thread(packages.create_package, videos, thumbnails)


@register_function(executor="manual", admin=True)
async def approve_package(package: str) -> bool:
    """Look into the package: may it be published?"""
    raise NotImplementedError("A person answers this call.")


@workflow
async def encode_episode(clips: list[str], quality: str) -> str:
    """Encodes clips, and returns the path of a package with their thumbnails."""
    videos = await gather(*[encode_video(clip, quality) for clip in clips])
    print(f"{len(videos)} videos encoded in {quality}")

    thumbnails = await gather(*[generate_thumbnail(video) for video in videos])
    print(f"{len(thumbnails)} thumbnails made")

    return await create_package(videos, thumbnails)


@workflow
async def review_episode(package: str) -> dict[str, str]:
    """Lets a person approve or reject a package."""
    approved = await approve_package(package)
    status = "approved" if approved else "rejected"
    print(f"The package was {status}")

    return {"status": status, "package": package}

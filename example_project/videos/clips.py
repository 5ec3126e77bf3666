"""Source clips for the demo: coloured waves on the move."""

from collections.abc import Iterator
from fractions import Fraction

import av

from example_project.videos.files import media_path
from example_project.videos.media import write_video

RATE = Fraction(24)
TIME_BASE = 1 / RATE
PERIOD = 440
WAVE = bytes([*range(16, 236), *range(235, 15, -1)])


def make_clips(folder: str = "clips", count: int = 3, seconds: float = 2) -> list[str]:
    """Returns the paths of `count` clips in a folder of MEDIA_ROOT, made where missing."""
    return [
        make_clip(f"{folder}/clip-{index}.mp4", index=index, seconds=seconds)
        for index in range(1, count + 1)
    ]


def make_clip(
    path: str, *, index: int = 1, seconds: float = 2, width: int = 1280, height: int = 720
) -> str:
    """Returns the path of a clip, made if there is none yet. Each `index` looks different."""
    target = media_path(path)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        frames = drawn_frames(index, round(seconds * RATE), width, height)
        write_video(target, frames, width=width, height=height, rate=RATE, time_base=TIME_BASE)
    return str(target)


def drawn_frames(index: int, count: int, width: int, height: int) -> Iterator[av.VideoFrame]:
    # Long enough for a row, which may be padded, from any start in the wave.
    wave = WAVE * (width // PERIOD + 3)
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        frame.pts, frame.time_base = number, TIME_BASE
        for layer, plane in enumerate(frame.planes):
            speed, slope = 6 + 2 * layer, index + layer
            starts = (
                (number * speed + row * slope + index * 97) % PERIOD for row in range(plane.height)
            )
            plane.update(b"".join(wave[start : start + plane.line_size] for start in starts))
        yield frame

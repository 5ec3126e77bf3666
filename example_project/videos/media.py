"""Encoding and thumbnails, with PyAV.

Workers may run a call twice, even at the same time. It does not matter: the same input gives the
same file under the same name, byte for byte on one kind of machine.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
from av.container import InputContainer
from av.video.frame import PictureType

from example_project.videos.files import existing_file, replacing

HEIGHTS = {"240p": 240, "480p": 480, "720p": 720, "1080p": 1080}
THUMBNAIL_HEIGHT = 180
LONGEST_DELAY = 10

# Playlists among the formats would let a file name others, or URLs, for ffmpeg to read.
READ_OPTIONS = {"format_whitelist": "mov,matroska,avi,mpegts", "protocol_whitelist": "file"}

# The output of x264 depends on how many threads it has. The slower presets use mbtree, whose
# AVX-512 code gave 37 different files in 48 runs of one call.
ENCODER_OPTIONS = {"preset": "superfast", "crf": "23", "threads": "1"}


def encode_video(path: str, quality: str) -> str:
    """Writes the picture of `path`, without sound, as H.264 in `quality`, such as "720p".

    Returns the path of the new file, which lies beside the old one. Raises ValueError for an
    unknown quality and a file that is not a video, FileNotFoundError for a missing one.
    """
    if quality not in HEIGHTS:
        raise ValueError(f"Unknown quality {quality!r}: use one of {', '.join(HEIGHTS)}.")
    height = HEIGHTS[quality]
    source = existing_file(path)
    target = source.with_name(f"{source.name.removesuffix('.mp4')}.{quality}.mp4")
    with opened(source) as container:
        stream = container.streams.video[0]
        pixel_aspect = stream.sample_aspect_ratio or 1
        write_video(
            target,
            decoded(container, source),
            width=scaled_width(stream.width * pixel_aspect, stream.height, height),
            height=height,
            rate=stream.average_rate or Fraction(25),
            time_base=stream.time_base,
        )
    return str(target)


def generate_thumbnail(path: str) -> str:
    """Writes a small JPEG of a frame: the one in the middle, in a long video that after ten
    seconds. Returns the path of the JPEG.

    Raises the errors of `encode_video`.
    """
    source = existing_file(path)
    target = source.with_name(f"{source.name.removesuffix('.mp4')}.jpg")
    picture = jpeg(early_frame(source))
    with replacing(target) as part:
        part.write_bytes(picture)
    return str(target)


def write_video(
    target: Path,
    frames: Iterable[av.VideoFrame],
    *,
    width: int,
    height: int,
    rate: Fraction,
    time_base: Fraction | None,
) -> None:
    """Writes `frames`, scaled to the size, as H.264 in mp4. `rate` is in frames per second,
    `time_base` the unit of their `pts` in seconds."""
    with (
        replacing(target) as part,
        av.open(part, "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options=ENCODER_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = time_base or 1 / rate
        for frame in frames:
            scaled = frame.reformat(width, height, "yuv420p")
            # A decoded frame carries its old type, which would force the encoder's choice.
            scaled.pict_type = PictureType.NONE
            container.mux(stream.encode(scaled))
        container.mux(stream.encode())


def video_facts(path: Path) -> dict[str, int | float | None]:
    """Width and height in pixels, and the duration in seconds, if the file tells it."""
    with opened(path) as container:
        stream = container.streams.video[0]
        duration = None if container.duration is None else container.duration / av.time_base
        return {"width": stream.width, "height": stream.height, "duration": duration}


def image_facts(path: Path) -> dict[str, int]:
    try:
        [frame] = jpeg_codec("r").decode(av.Packet(path.read_bytes()))
    except (av.FFmpegError, ValueError) as exc:
        raise ValueError(f"{path.name} is not a JPEG image.") from exc
    return {"width": frame.width, "height": frame.height}


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    try:
        container = av.open(path, container_options=READ_OPTIONS)
    except av.FFmpegError as exc:
        raise unreadable(path, exc) from exc
    with container:
        if not container.streams.video:
            raise ValueError(f"{path.name} has no picture.")
        yield container


def decoded(container: InputContainer, path: Path) -> Iterator[av.VideoFrame]:
    empty = True
    try:
        for frame in container.decode(video=0):
            empty = False
            yield frame
    except av.FFmpegError as exc:
        raise unreadable(path, exc) from exc
    if empty:
        raise ValueError(f"{path.name} has no frames.")


def unreadable(path: Path, error: av.FFmpegError) -> ValueError:
    return ValueError(f"{path.name} cannot be read as a video: {error.strerror}.")


def early_frame(path: Path) -> av.VideoFrame:
    """Reads the frames up to it, because not all formats can seek."""
    with opened(path) as container:
        delay = min((container.duration or 0) / av.time_base / 2, LONGEST_DELAY)
        wanted = (container.start_time or 0) / av.time_base + delay
        for frame in decoded(container, path):
            if frame.pts is None or frame.time >= wanted:
                break
        return frame


def jpeg(frame: av.VideoFrame) -> bytes:
    height = min(THUMBNAIL_HEIGHT, frame.height)
    encoder = jpeg_codec("w")
    encoder.width = scaled_width(frame.width, frame.height, height)
    encoder.height = height
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1)
    scaled = frame.reformat(encoder.width, encoder.height, encoder.pix_fmt)
    return b"".join(bytes(packet) for packet in [*encoder.encode(scaled), *encoder.encode()])


def jpeg_codec(mode: Literal["r", "w"]) -> av.VideoCodecContext:
    return cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", mode))


def scaled_width(width: int | Fraction, height: int, new_height: int) -> int:
    """Keeps the aspect. Sizes are even, because H.264 stores colours for blocks of two by two
    pixels."""
    return max(2, round(width * new_height / height / 2) * 2)

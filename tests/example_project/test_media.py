import hashlib
import json
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import pytest
from asgiref.sync import async_to_sync
from pydantic_monty import FunctionSnapshot, FutureSnapshot, Monty

from example_project.videos import media, workflows
from example_project.videos.clips import drawn_frames, make_clip, make_clips
from example_project.videos.files import media_path, replacing
from example_project.videos.media import HEIGHTS, encode_video, generate_thumbnail
from example_project.videos.packages import create_package

SIZE = (128, 72)
SECONDS = 0.5
FRAMES = 12


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    """Drawn once: each test gets a copy."""
    root = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.MEDIA_ROOT", root)
        return make_clip("clip.mp4", seconds=SECONDS, width=SIZE[0], height=SIZE[1])


@pytest.fixture(autouse=True)
def media_root(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture
def clip(small_clip, media_root):
    return shutil.copy(small_clip, media_root / "clip.mp4")


@pytest.fixture
def low_quality(monkeypatch):
    monkeypatch.setitem(HEIGHTS, "36p", 36)
    return "36p"


def frames_of(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def exactly(message):
    return f"^{re.escape(message)}$"


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_clip_is_a_video_that_moves(clip):
    frames = frames_of(clip)

    assert len(frames) == FRAMES
    assert {(frame.width, frame.height) for frame in frames} == {SIZE}
    assert len({bytes(frame.planes[0]) for frame in frames}) == FRAMES
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert (container.format.name.split(",")[0], stream.codec.name) == ("mov", "h264")
        assert stream.average_rate == Fraction(24)
        assert container.duration == SECONDS * av.time_base


def test_clips_differ_and_are_made_once(media_root):
    paths = make_clips("demo/clips", count=3, seconds=0.1)

    assert paths == [str(media_root / f"demo/clips/clip-{index}.mp4") for index in (1, 2, 3)]
    made = files_in(media_root / "demo/clips")
    assert len(set(made.values())) == 3
    (media_root / "demo/clips/clip-2.mp4").write_bytes(b"mine")
    assert make_clips("demo/clips", count=3, seconds=0.1) == paths
    assert files_in(media_root / "demo/clips") == made | {"clip-2.mp4": b"mine"}


@pytest.mark.parametrize(("quality", "size"), [("240p", (426, 240)), ("480p", (854, 480))])
def test_encode_video(clip, media_root, quality, size):
    path = encode_video("clip.mp4", quality)

    assert path == str(media_root / f"clip.{quality}.mp4")
    frames = frames_of(path)
    assert [(frame.width, frame.height) for frame in frames] == [size] * FRAMES
    assert [frame.time for frame in frames] == [number / 24 for number in range(FRAMES)]
    before, after = (frame.reformat(64, 36, "gray") for frame in (frames_of(clip)[6], frames[6]))
    differences = [
        abs(a - b) for a, b in zip(bytes(before.planes[0]), bytes(after.planes[0]), strict=True)
    ]
    assert sum(differences) / len(differences) < 6


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mov"])
def test_other_kinds_of_files(clip, media_root, low_quality, suffix):
    with av.open(clip) as source, av.open(media_root / f"a.{suffix}", "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)

    path = encode_video(f"a.{suffix}", low_quality)

    assert path == str(media_root / f"a.{suffix}.36p.mp4")
    assert [(frame.width, frame.height) for frame in frames_of(path)] == [(64, 36)] * FRAMES
    assert generate_thumbnail(f"a.{suffix}") == str(media_root / f"a.{suffix}.jpg")


def test_pixels_become_square(media_root, low_quality):
    with av.open(media_root / "wide.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for frame in drawn_frames(1, FRAMES, 96, 72):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    frames = frames_of(encode_video("wide.mp4", low_quality))

    assert {(frame.width, frame.height) for frame in frames} == {(64, 36)}


def test_encode_video_lets_the_encoder_choose_its_frame_types(clip, low_quality):
    frames = frames_of(encode_video(encode_video(clip, low_quality), low_quality))

    assert [frame.key_frame for frame in frames] == [True] + [False] * (FRAMES - 1)


def test_generate_thumbnail(clip, media_root):
    path = generate_thumbnail("clip.mp4")

    assert path == str(media_root / "clip.jpg")
    picture = (media_root / "clip.jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8\xff")
    assert picture.endswith(b"\xff\xd9")
    [frame] = frames_of(path)
    assert (frame.width, frame.height) == SIZE

    def likeness(other):
        other = other.reformat(*SIZE, "gray")
        pairs = zip(
            bytes(frame.reformat(*SIZE, "gray").planes[0]), bytes(other.planes[0]), strict=True
        )
        return sum(abs(a - b) for a, b in pairs)

    differences = [likeness(other) for other in frames_of(clip)]
    assert differences.index(min(differences)) == FRAMES // 2


def test_a_thumbnail_is_smaller_than_its_video(clip):
    [frame] = frames_of(generate_thumbnail(encode_video(clip, "480p")))

    assert (frame.width, frame.height) == (320, 180)


def test_create_package(clip, media_root, low_quality):
    shutil.copytree(media_root, media_root / "show/one")
    video = encode_video("show/one/clip.mp4", low_quality)
    thumbnail = generate_thumbnail(video)

    package = create_package([video, "show/one/clip.mp4"], [thumbnail])

    assert Path(package).parent == media_root / "show/one"
    assert Path(package).name.startswith("package-")
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        members = {name: archive.read(name) for name in archive.namelist()}
    del members["manifest.json"]
    assert {
        entry["name"]: (entry["size"], entry["sha256"])
        for part in manifest.values()
        for entry in part
    } == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in members.items()
    }
    assert members == {
        name: (media_root / "show/one" / name).read_bytes()
        for name in ("clip.36p.mp4", "clip.mp4", "clip.36p.jpg")
    }
    assert [
        (entry["name"], entry["width"], entry["height"], entry["duration"])
        for entry in manifest["videos"]
    ] == [("clip.36p.mp4", 64, 36, SECONDS), ("clip.mp4", 128, 72, SECONDS)]
    assert [
        (entry["name"], entry["width"], entry["height"]) for entry in manifest["thumbnails"]
    ] == [("clip.36p.jpg", 64, 36)]


def test_a_package_spans_folders_and_holds_a_file_once(clip, media_root):
    for folder in ("a", "b"):
        (media_root / folder).mkdir()
        shutil.copy(clip, media_root / folder / "clip.mp4")

    package = create_package(["a/clip.mp4", "b/clip.mp4", "b/../a/clip.mp4"], [])

    assert Path(package).parent == media_root
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ["a/clip.mp4", "b/clip.mp4", "manifest.json"]
    assert create_package(["a/clip.mp4"], []) != create_package(["a/../clip.mp4"], [])


def test_running_again_leaves_the_same_files(clip, media_root, low_quality):
    def run():
        video = encode_video(clip, low_quality)
        return create_package([video], [generate_thumbnail(video)])

    package = run()
    files = files_in(media_root)
    assert set(files) == {"clip.mp4", "clip.36p.mp4", "clip.36p.jpg", Path(package).name}
    with ThreadPoolExecutor(4) as pool:
        assert {future.result() for future in [pool.submit(run) for _ in range(8)]} == {package}
    assert files_in(media_root) == files


class Crash(BaseException):
    pass


def test_a_crash_in_the_middle_leaves_nothing_behind(clip, media_root, low_quality, monkeypatch):
    seen = set()

    def crashing(container, path):
        yield from drawn_frames(1, 100, *SIZE)
        seen.update(path.name for path in media_root.iterdir())
        raise Crash

    def crash():
        with monkeypatch.context() as patch:
            patch.setattr(media, "decoded", crashing)
            encode_video(clip, low_quality)

    with pytest.raises(Crash):
        crash()
    [half] = seen - {"clip.mp4"}
    assert half.startswith(".clip.36p.mp4.")
    assert set(files_in(media_root)) == {"clip.mp4"}

    encode_video(clip, low_quality)
    before = files_in(media_root)
    with pytest.raises(Crash):
        crash()
    assert files_in(media_root) == before


def test_a_package_with_a_bad_file_leaves_nothing_behind(clip, media_root):
    (media_root / "bad.mp4").write_bytes(b"no video" * 100)

    with pytest.raises(ValueError, match=r"bad\.mp4 cannot be read as a video"):
        create_package(["clip.mp4", "bad.mp4"], [])

    assert set(files_in(media_root)) == {"clip.mp4", "bad.mp4"}


def test_replacing_keeps_the_permissions_of_new_files(media_root):
    with replacing(media_root / "new") as part:
        part.write_bytes(b"content")
    (media_root / "plain").write_bytes(b"content")

    assert (media_root / "new").stat().st_mode == (media_root / "plain").stat().st_mode


@pytest.mark.parametrize(
    "name",
    ["../secret.mp4", "/etc/passwd", "link.mp4", "folder/secret.mp4", "{root}-other/secret.mp4"],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda name: encode_video(name, "240p"),
        generate_thumbnail,
        lambda name: create_package([name], []),
        lambda name: create_package(["clip.mp4"], [name]),
        make_clip,
    ],
    ids=["encode_video", "generate_thumbnail", "videos", "thumbnails", "make_clip"],
)
def test_nothing_outside_media_root_is_touched(function, name, clip, media_root, tmp_path):
    for folder in (tmp_path, tmp_path / "media-other"):
        folder.mkdir(exist_ok=True)
        shutil.copy(clip, folder / "secret.mp4")
    (media_root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (media_root / "folder").symlink_to(tmp_path)
    name = name.format(root=media_root)

    with pytest.raises(ValueError, match=exactly(f"{name!r} is outside MEDIA_ROOT.")):
        function(name)
    assert {path.name for path in tmp_path.iterdir()} == {"media", "media-other", "secret.mp4"}


def test_paths_that_stay_inside_are_taken(clip, media_root, tmp_path, settings):
    (media_root / "inside.mp4").symlink_to(clip)
    (tmp_path / "alias").symlink_to(media_root)

    assert media_path("inside.mp4") == media_path("other/../clip.mp4") == media_root / "clip.mp4"
    settings.MEDIA_ROOT = str(tmp_path / "alias")
    assert media_path(f"{tmp_path}/alias/clip.mp4") == media_path(str(clip))


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("function", [lambda name: encode_video(name, "240p"), generate_thumbnail])
@pytest.mark.parametrize(
    "content",
    [b"", b"no video" * 100, PLAYLIST.encode(), b"ffconcat version 1.0\nfile clip.mp4\n"],
    ids=["empty", "text", "playlist", "concatenation"],
)
def test_a_file_that_is_no_video_is_refused(function, content, clip, media_root):
    (media_root / "bad.mp4").write_bytes(content.replace(b"{clip}", b"clip.mp4"))

    with pytest.raises(ValueError, match=r"^bad\.mp4 cannot be read as a video: .+\.$"):
        function("bad.mp4")

    assert set(files_in(media_root)) == {"clip.mp4", "bad.mp4"}


def test_a_cut_video_is_refused(clip, media_root):
    content = (media_root / "clip.mp4").read_bytes()
    (media_root / "clip.mp4").write_bytes(content[: len(content) * 2 // 3])

    with pytest.raises(ValueError, match=r"^clip\.mp4 cannot be read as a video: .+\.$"):
        encode_video("clip.mp4", "240p")

    assert set(files_in(media_root)) == {"clip.mp4"}


def test_a_sound_file_has_no_picture(media_root):
    with av.open(media_root / "sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        frame.sample_rate = 48000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux([*stream.encode(frame), *stream.encode()])

    with pytest.raises(ValueError, match=exactly("sound.mp4 has no picture.")):
        encode_video("sound.mp4", "240p")


@pytest.mark.parametrize("name", ["missing.mp4", "", "."])
def test_a_missing_file(name, clip):
    with pytest.raises(
        FileNotFoundError, match=exactly(f"There is no file {name!r} in MEDIA_ROOT.")
    ):
        encode_video(name, "240p")


def test_unknown_quality(clip):
    message = "Unknown quality 'best': use one of 240p, 480p, 720p, 1080p."
    with pytest.raises(ValueError, match=exactly(message)):
        encode_video(clip, "best")


def test_a_package_needs_videos_and_images(clip):
    with pytest.raises(ValueError, match=exactly("A package needs at least one video.")):
        create_package([], [])

    with pytest.raises(ValueError, match=exactly("clip.mp4 is not a JPEG image.")):
        create_package(["clip.mp4"], ["clip.mp4"])


def run_in_sandbox(workflow, inputs, functions):
    """Runs a workflow to its end; returns its output and the calls in the order it made them."""
    calls = []
    with Monty() as pool, pool.checkout() as session:
        snapshot = session.feed_start(workflow.closure.source, inputs={"_inputs": inputs})
        answers = {}
        while isinstance(snapshot, FunctionSnapshot | FutureSnapshot):
            if isinstance(snapshot, FunctionSnapshot):
                calls.append(snapshot.function_name)
                value = functions[snapshot.function_name](*snapshot.args, **snapshot.kwargs)
                answers[snapshot.call_id] = {"return_value": value}
                snapshot = snapshot.resume({"future": ...})
            else:
                snapshot = snapshot.resume(
                    {number: answers[number] for number in sorted(snapshot.pending_call_ids)}
                )
        return snapshot.output, calls


def test_encode_episode_in_the_sandbox(clip, media_root, low_quality):
    clips = [shutil.copy(clip, media_root / f"clip-{index}.mp4") for index in (1, 2, 3)]

    package, calls = run_in_sandbox(
        workflows.encode_episode,
        {"clips": [str(path) for path in clips], "quality": low_quality},
        {
            function.__name__: async_to_sync(function)
            for function in (
                workflows.encode_video,
                workflows.generate_thumbnail,
                workflows.create_package,
            )
        },
    )

    assert calls == ["encode_video"] * 3 + ["generate_thumbnail"] * 3 + ["create_package"]
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist() == [
            *(f"clip-{index}.36p.mp4" for index in (1, 2, 3)),
            *(f"clip-{index}.36p.jpg" for index in (1, 2, 3)),
            "manifest.json",
        ]


@pytest.mark.parametrize(("answer", "status"), [(True, "approved"), (False, "rejected")])
def test_review_episode_in_the_sandbox(answer, status):
    output, calls = run_in_sandbox(
        workflows.review_episode,
        {"package": "/media/package.zip"},
        {"approve_package": lambda package: answer},
    )

    assert output == {"status": status, "package": "/media/package.zip"}
    assert calls == ["approve_package"]


def test_a_person_approves():
    with pytest.raises(NotImplementedError):
        async_to_sync(workflows.approve_package)("package.zip")

"""The examples for video, cameras and GStreamer; their masks are those of Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import dsunet_runtime
from tests.cpp.example_programs import Examples, read_mask
from tests.runtime import artifacts

WIDTH, HEIGHT, FRAMES = 66, 42, 6
COLOUR = np.array([10, 20, 40])
LEVEL = 250 / 8
"""Level of the mask of a pixel of that colour."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of FRAMES frames of one colour each: `COLOUR` times their number, RGB."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        frame[:] = number * COLOUR[::-1]
        writer.write(frame)
    writer.release()
    return path


def frames_of(video: Path) -> list[NDArray[np.uint8]]:
    """BGR, as the decoder of OpenCV returns them."""
    cv2 = pytest.importorskip("cv2")
    capture, frames = cv2.VideoCapture(str(video)), []
    while (found := capture.read())[0]:
        frames.append(found[1])
    return frames


def test_video_to_cut_outs(examples: Examples, path: Path, video: Path, tmp_path: Path) -> None:
    said = examples.succeed("segment_video", path, video, tmp_path / "%03d.png", "--as", "cutout")
    assert said.startswith(f"{FRAMES} frames written, 0 dropped\n")
    line = r"(?:from capture to result|of these, network) +median (\S+), .* p99 (\S+) ms"
    figures = [re.fullmatch(line, one) for one in said.splitlines()[1:]]
    (median, p99), (of_network, _) = [map(float, one.groups()) for one in figures if one]
    assert 0 < of_network <= median <= p99
    for number in range(FRAMES):
        with Image.open(tmp_path / f"{number:03}.png") as image:
            assert image.mode == "RGBA"
            cut_out = np.asarray(image)
        expected = artifacts.expected_frames_mask(cut_out[..., :3])
        assert np.array_equal(cut_out[..., 3], expected)
        assert np.allclose(cut_out[..., :3].mean(axis=(0, 1)), number * COLOUR, atol=4)


def test_video_to_masks(examples: Examples, path: Path, video: Path, tmp_path: Path) -> None:
    arguments = (path, video, tmp_path / "%d.png", "--frames", "3")
    assert examples.succeed("segment_video", *arguments).startswith("3 frames written")
    assert {path.name for path in tmp_path.glob("*.png")} == {"0.png", "1.png", "2.png"}
    mask = np.asarray(Image.open(tmp_path / "2.png"))
    assert abs(mask.mean() - 2 * LEVEL) <= 4


def test_video_to_video(examples: Examples, path: Path, video: Path, tmp_path: Path) -> None:
    for name, form in (("mask.avi", "mask"), ("over.avi", "overlay"), ("cut.avi", "cutout")):
        examples.succeed("segment_video", path, video, tmp_path / name, "--as", form)
    masks, overlays, cut_outs = (
        frames_of(tmp_path / f"{name}.avi") for name in ("mask", "over", "cut")
    )
    assert len(masks) == len(overlays) == len(cut_outs) == FRAMES
    colour, level = (FRAMES - 1) * COLOUR[::-1], (FRAMES - 1) * LEVEL
    red = np.array([0, 0, 255])
    assert np.allclose(masks[-1].mean(axis=(0, 1)), level, atol=6)
    assert np.allclose(cut_outs[-1].mean(axis=(0, 1)), colour * level / 255, atol=6)
    assert np.allclose(overlays[-1].mean(axis=(0, 1)), (colour + red) / 2, atol=6)


def test_a_live_video_drops_frames(examples: Examples, path: Path, tmp_path: Path) -> None:
    """Of a video that is faster than the computation, each frame is written or counted."""
    cv2 = pytest.importorskip("cv2")
    size, count = (640, 360), 40
    video = tmp_path / "fast.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 1000, size)
    for _ in range(count):
        writer.write(np.zeros((*size[::-1], 3), np.uint8))
    writer.release()
    done = examples("segment_video", path, video, tmp_path / "%d.png", "--live")
    (written, dropped) = map(int, re.findall(r"\d+", done.stdout.splitlines()[0]))
    assert written + dropped == count
    assert dropped > 0
    assert written == len([*tmp_path.glob("*.png")]) >= 1


def test_faults_of_segment_video(
    examples: Examples, path: Path, video: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.mp4"
    done = examples("segment_video", path, missing, tmp_path / "o.avi")
    assert done.returncode == 1
    assert f"segment_video: {missing}: cannot be opened as a video or a camera\n" in done.stderr
    done = examples("segment_video", path, video, tmp_path / "no/o.avi")
    assert done.returncode == 1
    assert f"segment_video: {tmp_path}/no/o.avi: cannot be written\n" in done.stderr
    done = examples("segment_video", path, video, tmp_path / "o.avi", "--as", "nonsense")
    assert done.returncode == 2
    done = examples("segment_video", path, video, tmp_path / "%d.none")
    assert done.returncode == 1
    assert done.stderr.endswith(f"segment_video: {tmp_path}/%d.none: cannot be written\n")


@pytest.mark.parametrize("camera", ["", "99999999999"])
def test_no_camera(examples: Examples, path: Path, tmp_path: Path, camera: str) -> None:
    done = examples("segment_video", path, camera, tmp_path / "o.avi")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{camera}: cannot be opened as a video or a camera\n")


@pytest.mark.parametrize("output", ["o%s.png", "%d%n.png", "%d%d.png", "100%.png", "o.png", "avi"])
def test_outputs_of_segment_video(
    examples: Examples, path: Path, video: Path, tmp_path: Path, output: str
) -> None:
    done = examples("segment_video", path, video, tmp_path / output)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("colorimetry", ["bt601", "bt709", "1:3:0:0", "1:4:0:0"])
def test_gstreamer(examples: Examples, path: Path, tmp_path: Path, colorimetry: str) -> None:
    """NV12 with GStreamer's strides, in each encoding; the order of the frames is kept."""
    encoding = {
        "bt601": "bt601-limited",
        "bt709": "bt709-limited",
        "1:3:0:0": "bt709-full",
        "1:4:0:0": "bt601-full",
    }[colorimetry]
    width, height, stride = 66, 42, 68  # GStreamer's rows begin at multiples of four bytes
    random = np.random.default_rng(1)
    planes = random.integers(0, 256, (FRAMES, height * 3 // 2, stride), np.uint8)
    (tmp_path / "clip.raw").write_bytes(planes.tobytes())
    (tmp_path / "masks").mkdir()
    source = (
        f"filesrc location={tmp_path}/clip.raw blocksize={planes[0].size} ! "
        f"capsfilter caps=video/x-raw,format=NV12,width={width},height={height},framerate=25/1,"
        f"colorimetry=(string){colorimetry}"
    )
    said = examples.succeed(
        "gstreamer_appsink", path, source, tmp_path / "masks", "--in-flight", "3"
    )
    assert said == f"{FRAMES} masks written\n"
    for number, frame in enumerate(planes):
        view = dsunet_runtime.Frame.from_buffer(
            frame.tobytes(), width, height, "nv12", stride=stride, encoding=encoding
        )
        found = read_mask(tmp_path / f"masks/{number:06}.pgm")
        assert np.array_equal(found, artifacts.expected_frames_mask(view.to_rgb()))


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("nonsense ! fakesrc", "the pipeline is wrong: "),
        ("filesrc location=/nonexistent", "the pipeline failed: "),
        (
            "videotestsrc ! video/x-raw,format=NV12,width=8,height=8,colorimetry=bt2020",
            "the pipeline's colours are neither BT.601 nor BT.709: convert them",
        ),
    ],
)
def test_faults_of_gstreamer(
    examples: Examples, path: Path, tmp_path: Path, source: str, fault: str
) -> None:
    done = examples("gstreamer_appsink", path, source, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"gstreamer_appsink: {fault}.*\n", done.stderr)

"""The examples do what they say; their masks are those of Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime import read_manifest
from dsunet_runtime.bench.image import size_for
from dsunet_runtime.cli import app
from tests.runtime import artifacts

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, FRAMES = 66, 42, 6
COLOUR = np.array([10, 20, 40])
LEVEL = 250 / 8
"""Of a pixel of that colour."""


class Examples:
    """The built programs."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "DSUNET_ONNXRUNTIME_LIBRARY": str(library)}

    def __call__(
        self,
        name: str,
        *arguments: Path | str,
        before: Sequence[str] = (),
        output: int | IO[str] = subprocess.PIPE,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        program = self._folder / name
        if not program.exists():
            pytest.skip(f"{name} is not built: its library was not found")
        return subprocess.run(
            [*before, program, *map(str, arguments)],
            env={**self._environment, **variables},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    def succeed(self, name: str, *arguments: Path | str) -> str:
        done = self(name, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def examples(build: Path, onnxruntime_library: Path) -> Examples:
    return Examples(build / "examples", onnxruntime_library)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return artifacts.frames(tmp_path / "a.onnx")


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def read(mask: Path) -> NDArray[np.uint8]:
    with Image.open(mask) as image:
        assert image.mode == "L"
        return np.asarray(image)


SEGMENT_IMAGE = pytest.mark.parametrize("program", ["segment_image_c", "segment_image_cpp"])


@SEGMENT_IMAGE
def test_segment_image(examples: Examples, artifact: Path, tmp_path: Path, program: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    expected = artifacts.expected_frames_mask(picture())
    examples.succeed(program, artifact, tmp_path / "a.ppm", tmp_path / "m.pgm")
    assert np.array_equal(read(tmp_path / "m.pgm"), expected)
    options = ("--threshold", "100", "--provider", "cpu")
    examples.succeed(program, artifact, tmp_path / "a.ppm", tmp_path / "m.pgm", *options)
    assert np.array_equal(read(tmp_path / "m.pgm"), np.where(expected >= 100, 255, 0))


@SEGMENT_IMAGE
def test_comments_in_ppm(examples: Examples, artifact: Path, tmp_path: Path, program: str) -> None:
    header = f"P6 # a comment 7\n#\n{WIDTH}\n{HEIGHT} 255\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + picture().tobytes())
    examples.succeed(program, artifact, tmp_path / "a.ppm", tmp_path / "m.pgm")
    assert np.array_equal(read(tmp_path / "m.pgm"), artifacts.expected_frames_mask(picture()))


@SEGMENT_IMAGE
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be opened"),
        (b"", "is not a PPM file (P6): convert it with ImageMagick or ffmpeg"),
        (b"P6 3 -1 255\n", "is not a PPM file of 8 bits"),
        (b"P6 3 1 65535\n" + 18 * b"\0", "is not a PPM file of 8 bits"),
        (b"P6 3 1 255\n" + 8 * b"\0", "ends too early"),
        (b"P6 99999 99999 255\n", "ends too early"),
    ],
)
def test_broken_images(
    examples: Examples,
    artifact: Path,
    tmp_path: Path,
    program: str,
    content: bytes | None,
    fault: str,
) -> None:
    image, mask = tmp_path / "a.ppm", tmp_path / "m.pgm"
    if content is not None:
        image.write_bytes(content)
    done = examples(program, artifact, image, mask)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{program}: {image}: {fault}\n"
    assert not mask.exists()


@SEGMENT_IMAGE
def test_faults_of_segment_image(
    examples: Examples, artifact: Path, tmp_path: Path, program: str
) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    missing = tmp_path / "missing.onnx"
    done = examples(program, missing, tmp_path / "a.ppm", tmp_path / "m.pgm")
    with pytest.raises(dsunet_runtime.ArtifactError) as python:
        dsunet_runtime.load(missing)
    assert (done.returncode, done.stderr) == (1, f"{program}: {python.value}\n")
    done = examples(program, artifact, tmp_path / "a.ppm", tmp_path / "no/m.pgm")
    assert done.stderr == f"{program}: {tmp_path}/no/m.pgm: cannot be created\n"
    done = examples(program, artifact, tmp_path / "a.ppm", "/dev/full")
    assert done.stderr == f"{program}: /dev/full: cannot be written: is the disk full?\n"
    assert Path("/dev/full").is_char_device()


PROGRAMS = [
    *("segment_image_c", "segment_image_cpp", "latency"),
    *("segment_video", "gstreamer_appsink"),
]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [[], ["--nonsense"], ["a", "b", "c", "d"], ["--provider"]])
def test_wrong_command_lines(examples: Examples, program: str, arguments: list[str]) -> None:
    done = examples(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"usage: {program} ARTIFACT .*\n", done.stderr)


@pytest.mark.parametrize("threshold", ["0", "256", "4294967424", "1.5", ""])
@SEGMENT_IMAGE
def test_thresholds_that_are_none(
    examples: Examples, artifact: Path, program: str, threshold: str
) -> None:
    done = examples(program, artifact, "a.ppm", "a.pgm", "--threshold", threshold)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {program} ARTIFACT ")


def keys(value: object) -> object:
    """The keys of a JSON value, with all that is in it."""
    if isinstance(value, dict):
        return {key: keys(one) for key, one in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else None


def shape(document: dict[str, object], measured: set[str]) -> object:
    """Keys of a report, without what is beneath those that only Python measures."""
    return {key: keys(value) if key in measured else None for key, value in document.items()}


def test_latency(examples: Examples, artifact: Path) -> None:
    """The report has the keys of `dsunet-run bench`."""
    settings = ("--batch", "2", "--streams", "2", "--seconds", "0.1")
    found = json.loads(examples.succeed("latency", artifact, *settings))
    command = ["bench", str(artifact), *settings, "--no-cold-start", "--json", "--rounds", "1"]
    expected = json.loads(CliRunner().invoke(app, command).stdout)
    measured = {"machine", "image", "artifacts", "measurements", "rooflines"}
    assert shape(found, measured) == shape(expected, measured)
    for key in ("format_version", "image", "rooflines"):
        assert found[key] == expected[key]
    for key in ("artifact", "provider", "precision", "input", "cold_start"):
        assert found["artifacts"][0][key] == expected["artifacts"][0][key]
    (one,), (other,) = found["measurements"], expected["measurements"]
    for key in ("artifact", "provider", "from", "batch", "streams", "time_relative_to_first"):
        assert one[key] == other[key]
    latency = one["latency"]
    ascending = [latency[name] for name in ("minimum", "median", "p90", "p95", "p99")]
    assert ascending == sorted(ascending)
    assert latency["minimum"] <= latency["mean"]
    assert latency["minimum"] > 0
    busy = one["images_per_second"] * latency["mean"] / 2  # of a batch of two, in two streams
    assert 0 < busy <= 2.1


def test_faults_of_latency(examples: Examples, artifact: Path) -> None:
    # The second takes 0.4 GB in the program and the library, and 1 GB more in ONNX Runtime.
    for batch, more in (("1000000", ""), ("90", r" \(ONNX Runtime: .*\)")):
        limited = ("sh", "-c", 'ulimit -v 1300000 && exec "$@"', "sh")
        done = examples("latency", artifact, "--batch", batch, "--threads", "1", before=limited)
        assert (done.returncode, done.stdout) == (1, "")
        said = rf"latency: out of memory: use smaller \w+ or batches{more}\n"
        assert re.fullmatch(said, done.stderr), done.stderr
    with Path("/dev/full").open("w") as full:
        done = examples("latency", artifact, "--seconds", "0", output=full)
    said = "latency: the output cannot be written: is the disk full?\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("fixed", [{"height": 40}, {"width": 60}, {"height": 40, "width": 60}])
def test_latency_of_fixed_sides(examples: Examples, tmp_path: Path, fixed: dict[str, int]) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", **fixed)
    found = json.loads(examples.succeed("latency", path, "--seconds", "0", "--threads", "1"))
    assert found["image"] == {"width": 1280, "height": 720, **fixed}
    assert size_for([read_manifest(path)]) == (found["image"]["height"], found["image"]["width"])


def test_latency_of_an_image(examples: Examples, artifact: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    arguments = ("--seconds", "0", "--image", tmp_path / "a.ppm", "--threads", "1")
    found = json.loads(examples.succeed("latency", artifact, *arguments))
    assert found["image"] == {"width": WIDTH, "height": HEIGHT}
    assert found["measurements"][0]["latency"]["calls"] == 1


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


def test_video_to_cut_outs(examples: Examples, artifact: Path, video: Path, tmp_path: Path) -> None:
    said = examples.succeed(
        "segment_video", artifact, video, tmp_path / "%03d.png", "--as", "cutout"
    )
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


def test_video_to_masks(examples: Examples, artifact: Path, video: Path, tmp_path: Path) -> None:
    arguments = (artifact, video, tmp_path / "%d.png", "--frames", "3")
    assert examples.succeed("segment_video", *arguments).startswith("3 frames written")
    assert {path.name for path in tmp_path.glob("*.png")} == {"0.png", "1.png", "2.png"}
    mask = np.asarray(Image.open(tmp_path / "2.png"))
    assert abs(mask.mean() - 2 * LEVEL) <= 4


def test_video_to_video(examples: Examples, artifact: Path, video: Path, tmp_path: Path) -> None:
    for name, form in (("mask.avi", "mask"), ("over.avi", "overlay"), ("cut.avi", "cutout")):
        examples.succeed("segment_video", artifact, video, tmp_path / name, "--as", form)
    masks, overlays, cut_outs = (
        frames_of(tmp_path / f"{name}.avi") for name in ("mask", "over", "cut")
    )
    assert len(masks) == len(overlays) == len(cut_outs) == FRAMES
    colour, level = (FRAMES - 1) * COLOUR[::-1], (FRAMES - 1) * LEVEL
    red = np.array([0, 0, 255])
    assert np.allclose(masks[-1].mean(axis=(0, 1)), level, atol=6)
    assert np.allclose(cut_outs[-1].mean(axis=(0, 1)), colour * level / 255, atol=6)
    assert np.allclose(overlays[-1].mean(axis=(0, 1)), (colour + red) / 2, atol=6)


def test_a_live_video_drops_frames(examples: Examples, artifact: Path, tmp_path: Path) -> None:
    """Of a video that is faster than the computation, each frame is written or counted."""
    cv2 = pytest.importorskip("cv2")
    size, count = (640, 360), 40
    video = tmp_path / "fast.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 1000, size)
    for _ in range(count):
        writer.write(np.zeros((*size[::-1], 3), np.uint8))
    writer.release()
    done = examples("segment_video", artifact, video, tmp_path / "%d.png", "--live")
    (written, dropped) = map(int, re.findall(r"\d+", done.stdout.splitlines()[0]))
    assert written + dropped == count
    assert dropped > 0
    assert written == len([*tmp_path.glob("*.png")]) >= 1


@pytest.mark.parametrize("count", [1, 2, 11, 100])
def test_percentiles_are_those_of_numpy(build: Path, count: int) -> None:
    values = np.random.default_rng(count).exponential(size=count)
    found = subprocess.run(
        [build / "tests/dsunet_test_percentiles", *map(repr, values.tolist())],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = [values.min(), *np.percentile(values, (50, 90, 95, 99)), values.mean()]
    assert np.allclose([float(one) for one in found], expected, rtol=1e-12)


def test_faults_of_segment_video(
    examples: Examples, artifact: Path, video: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.mp4"
    done = examples("segment_video", artifact, missing, tmp_path / "o.avi")
    assert done.returncode == 1
    assert f"segment_video: {missing}: cannot be opened as a video or a camera\n" in done.stderr
    done = examples("segment_video", artifact, video, tmp_path / "no/o.avi")
    assert done.returncode == 1
    assert f"segment_video: {tmp_path}/no/o.avi: cannot be written\n" in done.stderr
    done = examples("segment_video", artifact, video, tmp_path / "o.avi", "--as", "nonsense")
    assert done.returncode == 2
    done = examples("segment_video", artifact, video, tmp_path / "%d.none")
    assert done.returncode == 1
    assert done.stderr.endswith(f"segment_video: {tmp_path}/%d.none: cannot be written\n")


@pytest.mark.parametrize("camera", ["", "99999999999"])
def test_no_camera(examples: Examples, artifact: Path, tmp_path: Path, camera: str) -> None:
    done = examples("segment_video", artifact, camera, tmp_path / "o.avi")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{camera}: cannot be opened as a video or a camera\n")


@pytest.mark.parametrize("output", ["o%s.png", "%d%n.png", "%d%d.png", "100%.png", "o.png", "avi"])
def test_outputs_of_segment_video(
    examples: Examples, artifact: Path, video: Path, tmp_path: Path, output: str
) -> None:
    done = examples("segment_video", artifact, video, tmp_path / output)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("colorimetry", ["bt601", "bt709", "1:3:0:0", "1:4:0:0"])
def test_gstreamer(examples: Examples, artifact: Path, tmp_path: Path, colorimetry: str) -> None:
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
        "gstreamer_appsink", artifact, source, tmp_path / "masks", "--in-flight", "3"
    )
    assert said == f"{FRAMES} masks written\n"
    for number, frame in enumerate(planes):
        view = dsunet_runtime.Frame.from_buffer(
            frame.tobytes(), width, height, "nv12", stride=stride, encoding=encoding
        )
        found = read(tmp_path / f"masks/{number:06}.pgm")
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
    examples: Examples, artifact: Path, tmp_path: Path, source: str, fault: str
) -> None:
    done = examples("gstreamer_appsink", artifact, source, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"gstreamer_appsink: {fault}.*\n", done.stderr)

"""The examples for images and for latency; their masks are those of Python."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import dsunet_runtime
from dsunet_runtime import read_manifest
from dsunet_runtime.bench.image import size_for
from dsunet_runtime.cli import app
from tests.cpp.example_programs import Examples, read_mask
from tests.runtime import artifacts

WIDTH, HEIGHT = 66, 42


def picture(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


SEGMENT_IMAGE = pytest.mark.parametrize("program", ["segment_image_c", "segment_image_cpp"])


@SEGMENT_IMAGE
def test_segment_image(examples: Examples, path: Path, tmp_path: Path, program: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    expected = artifacts.expected_frames_mask(picture())
    examples.succeed(program, path, tmp_path / "a.ppm", tmp_path / "m.pgm")
    assert np.array_equal(read_mask(tmp_path / "m.pgm"), expected)
    options = ("--threshold", "100", "--provider", "cpu")
    examples.succeed(program, path, tmp_path / "a.ppm", tmp_path / "m.pgm", *options)
    assert np.array_equal(read_mask(tmp_path / "m.pgm"), np.where(expected >= 100, 255, 0))


@SEGMENT_IMAGE
def test_comments_in_ppm(examples: Examples, path: Path, tmp_path: Path, program: str) -> None:
    header = f"P6 # a comment 7\n#\n{WIDTH}\n{HEIGHT} 255\n".encode()
    (tmp_path / "a.ppm").write_bytes(header + picture().tobytes())
    examples.succeed(program, path, tmp_path / "a.ppm", tmp_path / "m.pgm")
    assert np.array_equal(read_mask(tmp_path / "m.pgm"), artifacts.expected_frames_mask(picture()))


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
    path: Path,
    tmp_path: Path,
    program: str,
    content: bytes | None,
    fault: str,
) -> None:
    image, mask = tmp_path / "a.ppm", tmp_path / "m.pgm"
    if content is not None:
        image.write_bytes(content)
    done = examples(program, path, image, mask)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{program}: {image}: {fault}\n"
    assert not mask.exists()


@SEGMENT_IMAGE
def test_faults_of_segment_image(
    examples: Examples, path: Path, tmp_path: Path, program: str
) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    missing = tmp_path / "missing.onnx"
    done = examples(program, missing, tmp_path / "a.ppm", tmp_path / "m.pgm")
    with pytest.raises(dsunet_runtime.ArtifactError) as python:
        dsunet_runtime.load(missing)
    assert (done.returncode, done.stderr) == (1, f"{program}: {python.value}\n")
    done = examples(program, path, tmp_path / "a.ppm", tmp_path / "no/m.pgm")
    assert done.stderr == f"{program}: {tmp_path}/no/m.pgm: cannot be created\n"
    done = examples(program, path, tmp_path / "a.ppm", "/dev/full")
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
    examples: Examples, path: Path, program: str, threshold: str
) -> None:
    done = examples(program, path, "a.ppm", "a.pgm", "--threshold", threshold)
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


def test_latency(examples: Examples, path: Path) -> None:
    """The report has the keys of `dsunet-run bench`."""
    settings = ("--batch", "2", "--streams", "2", "--seconds", "0.1")
    found = json.loads(examples.succeed("latency", path, *settings))
    command = ["bench", str(path), *settings, "--no-cold-start", "--json", "--rounds", "1"]
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


def test_faults_of_latency(examples: Examples, path: Path) -> None:
    # The second takes 0.4 GB in the program and the library, and 1 GB more in ONNX Runtime.
    for batch, more in (("1000000", ""), ("90", r" \(ONNX Runtime: .*\)")):
        limited = ("sh", "-c", 'ulimit -v 1300000 && exec "$@"', "sh")
        done = examples("latency", path, "--batch", batch, "--threads", "1", before=limited)
        assert (done.returncode, done.stdout) == (1, "")
        said = rf"latency: out of memory: use smaller \w+ or batches{more}\n"
        assert re.fullmatch(said, done.stderr), done.stderr
    with Path("/dev/full").open("w") as full:
        done = examples("latency", path, "--seconds", "0", output=full)
    said = "latency: the output cannot be written: is the disk full?\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("fixed", [{"height": 40}, {"width": 60}, {"height": 40, "width": 60}])
def test_latency_of_fixed_sides(examples: Examples, tmp_path: Path, fixed: dict[str, int]) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", **fixed)
    found = json.loads(examples.succeed("latency", path, "--seconds", "0", "--threads", "1"))
    assert found["image"] == {"width": 1280, "height": 720, **fixed}
    assert size_for([read_manifest(path)]) == (found["image"]["height"], found["image"]["width"])


def test_latency_of_an_image(examples: Examples, path: Path, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    arguments = ("--seconds", "0", "--image", tmp_path / "a.ppm", "--threads", "1")
    found = json.loads(examples.succeed("latency", path, *arguments))
    assert found["image"] == {"width": WIDTH, "height": HEIGHT}
    assert found["measurements"][0]["latency"]["calls"] == 1


@pytest.mark.parametrize("count", [1, 2, 11, 100])
def test_percentiles_are_those_of_numpy(build: Path, count: int) -> None:
    values = np.random.default_rng(count).exponential(size=count)
    found = subprocess.run(
        [build / "tests/dsunet_test_percentiles", *map(repr, values.tolist())],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = [values.min(), *np.percentile(values, (50, 90, 95, 99)), values.mean()]
    assert np.allclose([float(one) for one in found], expected, rtol=1e-12)

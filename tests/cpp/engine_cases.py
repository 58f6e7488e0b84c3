"""Engines on the stand-ins, and frames for them, which tests of the TensorRT backend share."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsunet_runtime.artifact.file_digest import digest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.backends.tensorrt import compatibility
from tests.cpp import c_interface
from tests.cpp.c_interface import (
    BGR,
    BGRA,
    BT601_LIMITED,
    BT709_FULL,
    NV12,
    RGB,
    RGBA,
    CallError,
    Frame,
    Library,
    Mask,
    Segmenter,
)
from tests.cpp.stand_ins import StandIn
from tests.runtime import artifacts, engines

FLAVORS = (Flavor.TENSORRT, Flavor.RTX)
FORMATS = (RGB, BGR, RGBA, BGRA, NV12)
BYTES = {RGB: 3, BGR: 3, RGBA: 4, BGRA: 4}
Images = list[NDArray[np.uint8]]


def library_of(stand_ins: Path, flavor: Flavor) -> Path:
    return stand_ins / f"libstand_in_{flavor.module}.so"


def version_of(stand_ins: Path, flavor: Flavor) -> str:
    calls = ctypes.CDLL(str(library_of(stand_ins, flavor)))
    parts = ("Major", "Minor", "Patch", "Build")
    return ".".join(str(getattr(calls, f"getInferLib{part}Version")()) for part in parts)


class Case:
    """An engine of a flavor, with the libraries to open it."""

    def __init__(self, runtime: Library, stand_ins: Path, folder: Path, flavor: Flavor) -> None:
        self.runtime = runtime
        self.stand_ins = stand_ins
        self.flavor = flavor
        self.path = folder / "a.engine"
        self.library = library_of(stand_ins, flavor)
        self.version = version_of(stand_ins, flavor)
        self.build()

    def build(self, **changes: Any) -> None:
        """Write the engine; `changes` are those of `engines.frames`."""
        given = {"flavor": self.flavor, "tensorrt_version": self.version, **changes}
        engines.frames(self.path, **given)

    def alter(self, text: str, **changes: Any) -> None:
        """Replace the engine's content and update the hash in its manifest, with other changes."""
        self.path.write_text(text)
        manifest = read_manifest(self.path)
        assert manifest.engine is not None
        engine = dataclasses.replace(manifest.engine, file=digest(self.path))
        engines.write_manifest(self.path, dataclasses.replace(manifest, engine=engine, **changes))

    def open(self, **options: Any) -> Segmenter:
        return self.runtime.open(self.path, **{"library": self.library, **options})

    def refusal(self, status: int = c_interface.BACKEND, **options: Any) -> str:
        """Open it, which must fail with a status; return the message."""
        with pytest.raises(CallError) as caught:
            self.open(**options)
        assert caught.value.status == status, caught.value
        return str(caught.value)

    @property
    def rebuild(self) -> str:
        """The command of Python's messages."""
        return compatibility.rebuild_command(self.path, read_manifest(self.path))


def images(*sizes: tuple[int, int], seed: int = 3) -> Images:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def check(segmenter: Segmenter, given: Images) -> None:
    for found, image in zip(segmenter(*given), given, strict=True):
        assert np.array_equal(found, artifacts.expected_frames_mask(image))


def attempt(action: Callable[[], object]) -> CallError | None:
    try:
        action()
    except CallError as error:
        return error
    return None


def enqueue(
    segmenter: Segmenter, frames: list[Frame], masks: list[Mask], stream: int | None
) -> None:
    segmenter.library.require(
        segmenter.library.calls.dsunet_segment_device(
            segmenter.handle,
            (Frame * len(frames))(*frames),
            (Mask * len(masks))(*masks),
            len(frames),
            stream,
        )
    )


class Batch:
    """Frames and masks, packed and adjacent in device memory."""

    def __init__(self, gpu: StandIn, count: int, height: int, width: int) -> None:
        self.shape = (count, height, width)
        pixels = height * width
        self.frames = gpu.allocate(3 * count * pixels)
        self.masks = gpu.allocate(count * pixels)
        self.given = [
            Frame(data=self.frames.address + 3 * pixels * place, width=width, height=height)
            for place in range(count)
        ]
        self.wanted = [Mask(data=self.masks.address + pixels * place) for place in range(count)]

    def check(self, given: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
        assert np.array_equal(masks.reshape(self.shape), artifacts.expected_frames_mask(given))


class Layout:
    """One frame in memory: its rows, and the fields of a `Frame` and a `Mask` over it."""

    def __init__(
        self, form: int, *, gap: int = 0, region: tuple[int, int, int, int] = (0, 0, 0, 0),
        upside_down: bool = False, threshold: int = 0, mask_gap: int = 0, encoding: int = 0,
    ) -> None:  # fmt: skip
        self.form, self.gap, self.region = form, gap, region
        self.upside_down, self.threshold, self.mask_gap = upside_down, threshold, mask_gap
        self.encoding = encoding
        self.width, self.height = 13, 11
        self.pixel = 1 if form == NV12 else BYTES[form]
        self.stride = self.pixel * (self.width + (form == NV12)) + gap
        self.rows = self.height + ((self.height + 1) // 2 if form == NV12 else 0)
        self.size = self.stride * self.rows
        _, _, width, height = region
        self.mask_width, self.mask_height = (width or self.width), (height or self.height)
        self.mask_stride = self.mask_width + mask_gap
        self.mask_size = self.mask_stride * self.mask_height

    def frame(self, address: int) -> Frame:
        x, y, width, height = self.region
        stride, data = self.stride, address
        if self.upside_down:
            data, stride = address + self.stride * (self.height - 1), -stride
        return Frame(
            data=data, width=self.width, height=self.height, stride=stride, format=self.form,
            encoding=self.encoding, x=x, y=y, region_width=width, region_height=height,
            chroma=address + self.stride * self.height if self.form == NV12 else None,
            chroma_stride=self.stride if self.form == NV12 else 0,
        )  # fmt: skip

    def mask(self, address: int) -> Mask:
        return Mask(data=address, stride=self.mask_stride, threshold=self.threshold)


LAYOUTS = (
    *(Layout(form) for form in FORMATS),
    *(Layout(form, gap=5) for form in FORMATS),
    *(Layout(form, region=(3, 5, 7, 5), gap=3) for form in FORMATS),
    *(Layout(form, region=(4, 2, 1, 1)) for form in (RGB, NV12)),
    *(Layout(form, upside_down=True) for form in (BGR, NV12)),
    *(Layout(NV12, encoding=encoding) for encoding in range(BT601_LIMITED, BT709_FULL + 1)),
    Layout(RGB, mask_gap=4),
    Layout(RGB, threshold=100),
    Layout(BGRA, region=(1, 1, 9, 8), mask_gap=2, threshold=255, gap=1),
)

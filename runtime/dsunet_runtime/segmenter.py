"""The one class that users hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact import check_hashes, check_sizes, read_manifest
from dsunet_runtime.backends import Backend, Tensors
from dsunet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from dsunet_runtime.errors import BackendError, ImageError
from dsunet_runtime.forms import Prepared, form_of
from dsunet_runtime.images import ImageLike, as_rgb
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.provider import Provider


def load(
    path: str | os.PathLike[str],
    *,
    provider: Provider | str = Provider.CPU,
    threads: int | None = None,
) -> Segmenter:
    """Load an exported ONNX file, with the weights that may lie beside it.

    `provider` is `cpu`, `cuda` or `tensorrt`; `threads` is how many CPU threads share one
    operation, None for as many as there are cores.  Every byte of the files beside the artifact is
    checked against the manifest while the session is created.

    Raises ArtifactError if the artifact is missing, broken, not complete, or not from
    dsunet-export; and BackendError if ONNX Runtime or the provider is missing or cannot run it.
    """
    path = Path(path)
    provider = _provider(provider)
    if threads is not None and threads < 1:
        raise BackendError(f"threads is {threads}: give at least 1, or None for all cores")
    if path.suffix == ".engine":
        raise BackendError(
            f"{path}: this version does not run TensorRT engines yet: load the ONNX file instead"
        )
    manifest = read_manifest(path)
    check_sizes(path, manifest)
    with ThreadPoolExecutor(1) as pool:
        hashes = pool.submit(check_hashes, path, manifest)
        try:
            backend = OnnxRuntimeBackend(path, manifest, provider, threads)
        finally:
            # If both fail: that the weights are the wrong ones says more than what ONNX Runtime
            # makes of them.
            hashes.result()
    return Segmenter(manifest, backend)


class Segmenter:
    """From images to masks.  A context manager: leaving it closes it.

    Calling it, from any thread, gives the mask of one image.  Who wants to overlap decoding,
    inference and writing uses the three steps of a call: `prepare`, `infer` and `finish`.
    """

    manifest: Manifest

    def __init__(self, manifest: Manifest, backend: Backend) -> None:
        self.manifest = manifest
        self._backend: Backend | None = backend
        self._form = form_of(manifest)

    @property
    def fixed_batch(self) -> int | None:
        """How many images the artifact computes at once, or None if it takes any number."""
        count = self.manifest.inputs[0].shape[0]
        return count if isinstance(count, int) else None

    def __call__(self, image: ImageLike) -> NDArray[np.uint8]:
        """The mask of one image: H×W, uint8, 0 to 255, of the size of the upright image.

        `image` is an array H×W×3 of uint8 RGB, a Pillow image, or the path of an image file.
        Raises ImageError if it cannot be read or is not what the artifact takes, and BackendError
        if the computation fails or this segmenter is closed.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[ImageLike]) -> list[NDArray[np.uint8]]:
        """The masks of several images, in their order; raises what a call for one image raises.

        What fits together is computed at once: all of them, or in the form `frames` those of the
        same size.
        """
        prepared = [self.prepare(image) for image in images]
        outputs = self.infer(prepared)
        return [self.finish(o, p) for o, p in zip(outputs, prepared, strict=True)]

    def prepare(self, image: ImageLike) -> Prepared:
        """First step: decode one image and make the network's inputs of it.

        Raises ImageError if it cannot be read or is not what the artifact takes.
        """
        try:
            return self._form.prepare(as_rgb(image))
        except ImageError as error:
            if isinstance(image, str | os.PathLike):
                raise ImageError(f"{os.fspath(image)}: {error}") from error
            raise

    def infer(self, prepared: Sequence[Prepared]) -> list[Tensors]:
        """Second step: the network's outputs for each image, in their order, without batch axis.

        Raises BackendError if the computation fails or this segmenter is closed.
        """
        if self._backend is None:
            raise BackendError("this segmenter is closed: load the artifact again")
        results: dict[int, Tensors] = {}
        for indices in _same_shapes(prepared):
            for chunk in _chunks(indices, self.fixed_batch or len(indices)):
                outputs = self._backend.infer(self._stacked([prepared[i] for i in chunk]))
                for row, index in enumerate(chunk):
                    results[index] = {name: value[row] for name, value in outputs.items()}
        return [results[index] for index in range(len(prepared))]

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        """Third step: the mask of one image, H×W, 0 to 255.

        Raises BackendError if the network gave no numbers.
        """
        return self._form.finish(outputs, prepared)

    def close(self) -> None:
        """Free the session; closing twice does nothing."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _stacked(self, images: list[Prepared]) -> Tensors:
        """One batch; if the artifact's is fixed and larger, the last image fills it up."""
        missing = (self.fixed_batch or len(images)) - len(images)
        images = images + [images[-1]] * missing
        return {name: np.stack([p.inputs[name] for p in images]) for name in images[0].inputs}


def _provider(name: Provider | str) -> Provider:
    try:
        return Provider(name)
    except ValueError as error:
        known = ", ".join(p.value for p in Provider)
        raise BackendError(f"no provider is called {name!r}: give one of {known}") from error


def _same_shapes(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Indices of the images, those with inputs of the same shapes together."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index, image in enumerate(prepared):
        shapes = tuple(value.shape for value in image.inputs.values())
        groups.setdefault(shapes, []).append(index)
    return list(groups.values())


def _chunks(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]

"""The one class that users hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact import check_hashes, check_sizes, read_manifest
from dsunet_runtime.backends import Backend, Tensors, closed
from dsunet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from dsunet_runtime.blank_masks import BlankMasks
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import BackendError
from dsunet_runtime.file_kinds import is_engine
from dsunet_runtime.forms import Prepared, form_of
from dsunet_runtime.images import ImageLike
from dsunet_runtime.manifest import Manifest
from dsunet_runtime.memory import check_memory
from dsunet_runtime.message_text import quote
from dsunet_runtime.provider import MAX_THREADS, Provider
from dsunet_runtime.shapes import batch_range

_CHECKED_FROM = 1 << 28
"""Bytes of a batch from which on it is checked that they are available."""


def load(
    path: str | os.PathLike[str],
    *,
    provider: Provider | str | None = None,
    threads: int | None = None,
) -> Segmenter:
    """Load an artifact: an exported ONNX file with ONNX Runtime, an engine with TensorRT.

    For an ONNX file `provider` is `cpu`, which None stands for, `cuda` or `tensorrt`; `threads` is
    how many CPU threads share one operation, None for as many as there are cores.  `tensorrt` sets
    NVIDIA_TF32_OVERRIDE to 0 for this process, unless it is set already.  An engine runs
    on CUDA's first GPU, and takes neither.

    Every byte of the files is checked: the manifest against the digest that it carries, all else
    against the manifest (of an ONNX file while the session is created, of an engine before TensorRT
    sees it), and an ONNX file has nothing beside the two.  That finds damage and edits; it is no
    signature of who made the file.

    Raises ArtifactError if the artifact is missing, broken, not complete, or not from
    dsunet-export; and BackendError if what runs it is missing or cannot run it on this machine.
    """
    path = Path(path)
    if is_engine(path):
        if provider is not None or threads is not None:
            raise BackendError(
                f"{path}: an engine runs on TensorRT alone, and a provider (or threads) is for "
                f"ONNX files: leave it out, or load the ONNX file"
            )
        return _load_engine(path)
    return _load_onnx(path, _provider(provider or Provider.CPU), threads)


def _load_engine(path: Path) -> Segmenter:
    from dsunet_runtime.backends.tensorrt import TensorRTBackend

    manifest = read_manifest(path)
    check_sizes(path, manifest)
    return Segmenter(manifest, TensorRTBackend(path, manifest))


def _load_onnx(path: Path, provider: Provider, threads: int | None) -> Segmenter:
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise BackendError(
            f"threads is {threads}: give 1 to {MAX_THREADS:,}, or None for all cores"
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


class Segmenter(Closeable):
    """From images to masks.  A context manager: leaving it closes it.

    Calling it, from any thread, gives the mask of one image.  Who wants to overlap decoding,
    inference and writing uses the three steps of a call: `prepare`, `infer` and `finish`.
    """

    manifest: Manifest

    def __init__(self, manifest: Manifest, backend: Backend) -> None:
        self.manifest = manifest
        self._backend: Backend | None = backend
        self._form = form_of(manifest)
        self._batch = batch_range(manifest)
        self._blank_masks = BlankMasks.of_artifact(manifest, self._outputs)
        self.concurrency = backend.concurrency
        """How many calls at once, each from a thread of its own, are faster than one by one."""

    @property
    def best_batch(self) -> int:
        """How many images to compute at once: what an artifact has fixed, or an engine is tuned
        for; else 1.
        """
        return self._batch.optimum

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
        return self._form.read(image)

    def infer(self, prepared: Sequence[Prepared]) -> list[Tensors]:
        """Second step: the network's outputs for each image, in their order, without batch axis.

        Raises BackendError if the computation fails or this segmenter is closed.
        """
        chunks = [
            chunk
            for indices in _same_shapes(prepared)
            for chunk in _chunks(indices, self._batch.maximum or len(indices))
        ]
        batches = (self._stacked([prepared[i] for i in chunk]) for chunk in chunks)
        results: dict[int, Tensors] = {}
        for chunk, outputs in zip(chunks, self._open().infer_each(batches), strict=True):
            for row, index in enumerate(chunk):
                results[index] = {name: value[row] for name, value in outputs.items()}
        return [results[index] for index in range(len(prepared))]

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], *, stream: Any
    ) -> None:
        """Compute one batch from tensors on the GPU into tensors on the GPU.  Engines only.

        `inputs` and `outputs` have a tensor for each of the manifest's, by name: for the form
        `frames` `image`, uint8 N×H×W×3, and `mask`, uint8 N×H×W.  A tensor is anything with
        `__cuda_array_interface__` or DLPack (of PyTorch or CuPy, for example), or a `DeviceTensor`.
        `stream` is a CUDA stream of any library, or its handle.

        The work is put into that stream, after what it holds already; nothing is copied, nothing is
        allocated here, and the call does not wait for the GPU.  (TensorRT for RTX may compile when
        shapes are new to it.)  So the tensors must live, and the outputs must not be read, until
        the stream comes to what follows; and what fills the inputs must be in that stream or
        ordered before it.  The engine has one execution context: calls from several
        threads or for several streams are safe, and their runs follow each other on the GPU in the
        order of the calls.  Not for a stream that is being captured.

        Raises ImageError if a tensor is not what the artifact takes, and BackendError if this is no
        engine, TensorRT fails or this segmenter is closed.
        """
        self._open().run_device(inputs, outputs, stream)

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        """Third step: the mask of one image, H×W, 0 to 255.

        Raises BackendError if the network gave no numbers, or the same for every image, as far as
        that shows: logits show it, and where the graph makes masks, blank ones do (`blank_masks`
        says when).
        """
        mask = self._form.finish(outputs, prepared)
        self._blank_masks.check(outputs)
        return mask

    def close(self) -> None:
        """Free the session or the engine; closing twice does nothing."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _outputs(self, images: Sequence[ImageLike]) -> list[Tensors]:
        return self.infer([self.prepare(image) for image in images])

    def _open(self) -> Backend:
        if self._backend is None:
            raise closed()
        return self._backend

    def _stacked(self, images: list[Prepared]) -> Tensors:
        """One batch; where the artifact takes no smaller one, the last image fills it up."""
        count = max(len(images), self._batch.minimum)
        size = count * sum(value.nbytes for value in images[0].inputs.values())
        if size > _CHECKED_FROM:
            check_memory(size, f"a batch of {count:,} images", "compute fewer at once")
        images = images + [images[-1]] * (count - len(images))
        return {name: np.stack([p.inputs[name] for p in images]) for name in images[0].inputs}


def _provider(name: Provider | str) -> Provider:
    try:
        return Provider(name)
    except ValueError as error:
        known = ", ".join(p.value for p in Provider)
        raise BackendError(f"no provider is called {quote(name)}: give one of {known}") from error


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

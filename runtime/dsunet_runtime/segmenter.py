"""`load` and `Segmenter`: the Python API of the runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsunet_runtime.artifact.file_kinds import is_engine
from dsunet_runtime.artifact.integrity import check_hashes, check_sizes
from dsunet_runtime.artifact.manifest import InputForm, Manifest, MaskForm
from dsunet_runtime.artifact.manifest_file import read_manifest
from dsunet_runtime.artifact.shapes import batch_range
from dsunet_runtime.backends.interface import Backend, Tensors, closed
from dsunet_runtime.backends.selection import OnnxOptions, open_backend
from dsunet_runtime.choices import one_of
from dsunet_runtime.closeable import Closeable
from dsunet_runtime.errors import BackendError
from dsunet_runtime.forms import Prepared, form_of
from dsunet_runtime.images.decode import ImageLike
from dsunet_runtime.masks.blank_masks import BlankMasks
from dsunet_runtime.memory import check_memory
from dsunet_runtime.provider import Provider
from dsunet_runtime.result import Result

_CHECKED_FROM = 1 << 28
"""Batches larger than this many bytes are checked against the available memory."""


def load(
    path: str | os.PathLike[str],
    *,
    provider: Provider | str | None = None,
    threads: int | None = None,
    selftest: str = "auto",
    allow_cpu_fallback: bool = False,
    mapped_weights: bool = False,
    domain: str | os.PathLike[str] | None = None,
    mask_form: str | None = None,
) -> Segmenter:
    """Load an artifact: an ONNX file with ONNX Runtime or OpenVINO, or an engine with TensorRT.

        with dsunet_runtime.load("dsunet.onnx", provider="cuda") as segmenter:
            mask = segmenter("photo.jpg")

    Every byte of the artifact is verified: the manifest against the SHA-256 that it contains, all
    other bytes against the hashes in the manifest (an ONNX file for ONNX Runtime's `cpu` and
    `cuda` while the session is created, all others before).  This detects damage and edits.  It is
    not a signature.

    Args:
        path: ONNX file (`.onnx`) or TensorRT engine (`.engine`, `.plan`) written by
            `dsunet-export`.  An engine runs on the first CUDA device, which
            `CUDA_VISIBLE_DEVICES` selects.
        provider: What computes an ONNX file: ONNX Runtime's execution provider `cpu` (default),
            `cuda`, `tensorrt` or `rtx`; or `openvino`, which is OpenVINO on the CPU.  Not for
            engines.  `tensorrt` and `rtx` set the environment variable `NVIDIA_TF32_OVERRIDE` to 0
            for the process, unless it is already set.
        threads: Number of CPU threads per operation, 1 to 1024 (default: one per core).  Not for
            engines.
        selftest: When to run the self-test (see `dsunet-run selftest`): `auto`, the first time that
            an engine, or an ONNX file on a provider other than `cpu`, runs with this device, driver
            and library; `always`; or `never`.  Where it passed is recorded in `PATH.selftest.json`.
        allow_cpu_fallback: Whether a provider on a GPU may leave matrix multiplications and
            convolutions to the CPU.  By default that is an error.
        mapped_weights: Whether to compute with the weights in the file beside an ONNX file as they
            are, mapped into memory, so that artifacts and processes that share the file hold them
            once.  By default ONNX Runtime makes a rearranged copy for each artifact, with which it
            is a little faster.  For the provider `cpu`, and not for artifacts in 16 bits.
        domain: ONNX file whose trained weights replace those of an engine that was built with
            `dsunet-export trt --refit`; both exported with the same `--shared-weights`.  The
            self-test then runs at every load, with that file's references, unless it is `never`.
        mask_form: How probabilities become an 8-bit mask (see `MaskForm`) with an artifact in the
            tensors form, instead of the form in its manifest.  In the frames form, the graph does
            that.

    Returns:
        A segmenter.  Use it as a context manager, or call `close` when it is no longer needed.

    Raises:
        ArtifactError: The artifact is missing, damaged, incomplete, or was not written by
            `dsunet-export`.
        BackendError: ONNX Runtime, OpenVINO, TensorRT, CUDA or the provider is missing, or cannot
            run the artifact on this machine; a provider on a GPU leaves the network to the CPU; or
            an argument is not valid.
        SelfTestError: The outputs on this machine are outside the tolerance of the self-test.
    """
    from dsunet_runtime.selftest.apply_policy import apply_policy
    from dsunet_runtime.selftest.policy import SelfTestPolicy

    path = Path(path)
    policy = one_of(SelfTestPolicy, "selftest", selftest, BackendError)
    chosen = None
    if is_engine(path):
        if provider is not None or threads is not None or allow_cpu_fallback or mapped_weights:
            raise BackendError(
                f"{path}: provider, threads, allow_cpu_fallback and mapped_weights apply to ONNX "
                f"files only, and this is an engine: omit them, or load the ONNX file"
            )
        manifest, backend = _load_engine(path, None if domain is None else Path(domain))
    else:
        if domain is not None:
            raise BackendError(
                f"{path}: domain applies to engines, and this is an ONNX file: load the ONNX file "
                f"of the domain itself"
            )
        chosen = one_of(Provider, "provider", provider or Provider.CPU, BackendError)
        options = OnnxOptions(chosen, threads, allow_cpu_fallback, mapped_weights)
        manifest, backend = _load_onnx(path, options)
    with ExitStack() as stack:
        stack.callback(backend.close)
        if mask_form is not None:
            manifest = _with_mask_form(path, manifest, mask_form)
        segmenter = Segmenter(manifest, backend)
        machine = segmenter.machine
        if domain is not None:
            machine, policy = (), policy.without_record
        apply_policy(segmenter, path, chosen, machine, policy)
        stack.pop_all()
    return segmenter


def _with_mask_form(path: Path, manifest: Manifest, name: str) -> Manifest:
    form = one_of(MaskForm, "mask_form", name, BackendError)
    if manifest.input_form is InputForm.FRAMES and form is not manifest.mask_form:
        raise BackendError(
            f"{path}: its graph computes masks of the form {manifest.mask_form}: omit mask_form, "
            f"or export with --mask {form}"
        )
    return replace(manifest, mask_form=form)


def _load_engine(path: Path, domain: Path | None) -> tuple[Manifest, Backend]:
    from dsunet_runtime.backends.tensorrt.backend import TensorRTBackend

    manifest = read_manifest(path)
    check_sizes(path, manifest)
    if domain is not None:
        from dsunet_runtime.artifact.domain import with_domain

        manifest = with_domain(path, manifest, domain)
    return manifest, TensorRTBackend(path, manifest, domain)


def _load_onnx(path: Path, options: OnnxOptions) -> tuple[Manifest, Backend]:
    manifest = read_manifest(path)
    check_sizes(path, manifest)
    if options.provider.keeps_compiled:  # its cache must not be built from a damaged file
        check_hashes(path, manifest)
        return manifest, open_backend(path, manifest, options)
    with ThreadPoolExecutor(1) as pool:
        hashes = pool.submit(check_hashes, path, manifest)
        try:
            backend = open_backend(path, manifest, options)
        finally:
            # If both fail, a wrong hash explains the failure better than the library's message.
            hashes.result()
    return manifest, backend


class Segmenter(Closeable):
    """A loaded artifact that computes masks for images.

        with dsunet_runtime.load("dsunet.onnx") as segmenter:
            mask = segmenter("photo.jpg")  # uint8, H×W
            masks = segmenter.batch(["a.jpg", "b.jpg"])

    Create it with `load`.  All methods except `close` may be called from several threads at once.
    To overlap decoding, inference and writing, use the three steps of a call separately: `prepare`,
    `infer` and `finish`.

    Attributes:
        manifest: Description of the artifact.
        concurrency: Number of concurrent calls, one thread each, that increase the throughput.
    """

    manifest: Manifest

    def __init__(self, manifest: Manifest, backend: Backend) -> None:
        self.manifest = manifest
        self._backend: Backend | None = backend
        self._form = form_of(manifest)
        self._batch = batch_range(manifest)
        self._blank_masks = BlankMasks.of_artifact(manifest, self._outputs)
        self.concurrency = backend.concurrency

    @property
    def best_batch(self) -> int:
        """The recommended batch.

        It is the fixed batch of an ONNX file, the optimum of an engine's profile, or 1 if the batch
        is dynamic.
        """
        return self._batch.optimum

    def __call__(self, image: ImageLike) -> NDArray[np.uint8]:
        """Compute the mask of one image.

            mask = segmenter("photo.jpg")
            inside = mask >= 128

        Args:
            image: Path of an image file, its bytes, or a file object open for reading them; Pillow
                image; uint8 array H×W×3 in RGB order, 0 to 255; or `Frame` of another pixel format.
                Files and Pillow images are first rotated upright by their EXIF orientation.  A
                file object that can seek is read from its start.

        Returns:
            uint8 array H×W, 0 (outside) to 255 (inside), of the size of the upright image, or of
            the region of a frame.

        Raises:
            ImageError: The image cannot be read, or the artifact does not take its size.
            BackendError: The computation fails, or the segmenter is closed.
        """
        return self.batch([image])[0]

    def predict(self, image: ImageLike) -> Result:
        """Compute the mask of one image, for cut-outs, overlays and files of it.

            segmenter.predict("photo.jpg").cutout().save("cutout.png")

        Args:
            image: Image as in `__call__`.

        Returns:
            The upright image with its mask.

        Raises:
            ImageError: The image cannot be read, or the artifact does not take its size.
            BackendError: The computation fails, or the segmenter is closed.
        """
        prepared = self.prepare(image)
        (outputs,) = self.infer([prepared])
        return Result(prepared.rgb, self.finish(outputs, prepared), prepared.icc_profile)

    def batch(self, images: Sequence[ImageLike]) -> list[NDArray[np.uint8]]:
        """Compute the masks of several images.

        Images are combined into batches as large as the artifact allows: in the tensors form all of
        them, in the frames form those of the same size.

        Args:
            images: Images as in `__call__`; in the frames form, of any mix of sizes and formats.

        Returns:
            One uint8 array H×W for each image, in the order of `images`.

        Raises:
            ImageError: An image cannot be read, or the artifact does not take its size.
            BackendError: The computation fails, a batch does not fit into memory, or the segmenter
                is closed.
        """
        prepared = [self.prepare(image) for image in images]
        outputs = self.infer(prepared)
        return [self.finish(o, p) for o, p in zip(outputs, prepared, strict=True)]

    def prepare(self, image: ImageLike) -> Prepared:
        """First step of a call: decode one image and compute the inputs of the network.

        Args:
            image: Image as in `__call__`.

        Returns:
            The decoded image and, by name, the network's inputs without the batch axis.

        Raises:
            ImageError: The image cannot be read, or the artifact does not take its size.
        """
        return self._form.read(image)

    def infer(self, prepared: Sequence[Prepared]) -> list[Tensors]:
        """Second step of a call: run the network.

        Args:
            prepared: Results of `prepare`, any number of them.

        Returns:
            For each image, in order, the outputs by name, without the batch axis: `mask` (uint8,
            H×W) in the frames form, `logits` (float32, 1×S×S) in the tensors form.

        Raises:
            BackendError: The computation fails, a batch does not fit into memory, or the segmenter
                is closed.
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
        """Enqueue inference on tensors in GPU memory.  Engines only.

            frames = torch.empty((1, 720, 1280, 3), dtype=torch.uint8, device="cuda")
            masks = torch.empty((1, 720, 1280), dtype=torch.uint8, device="cuda")
            stream = torch.cuda.current_stream()
            segmenter.run_device({"image": frames}, {"mask": masks}, stream=stream)

        The call enqueues the work on the stream and returns.  It does not copy, allocate or
        synchronise.  (TensorRT for RTX may compile kernels for new shapes.)  Therefore:

        *   the inputs must be filled by earlier work on this stream, or on one that it waits for;
        *   the tensors must stay allocated until the work is done;
        *   the outputs must be read by later work on this stream, or after synchronising with it.

        The engine has one execution context.  Calls from several threads and for several streams
        are safe; the GPU executes them one after the other, in the order of the calls.  The stream
        must not be under capture by a CUDA graph.

        Args:
            inputs: Tensors by the manifest's input names: `image` (uint8, N×H×W×3, RGB, 0 to 255)
                in the frames form; `hiera` and `dino` (float32, N×3×S×S, normalised) in the tensors
                form.  A tensor is any object with `__cuda_array_interface__` or DLPack, for example
                of PyTorch or CuPy, or a `DeviceTensor`.  It must be contiguous.
            outputs: Tensors that are written, by output name: `mask` (uint8, N×H×W) or `logits`
                (float32, N×1×S×S).
            stream: CUDA stream of PyTorch, CuPy, Numba, PyCUDA or cuda-python, or its handle as an
                integer; 0 is the default stream.

        Raises:
            ImageError: A tensor is missing, or has an unsupported shape, type or location.
            BackendError: The artifact is an ONNX file, TensorRT fails, or the segmenter is closed.
        """
        self._open().run_device(inputs, outputs, stream)

    def finish(self, outputs: Tensors, prepared: Prepared) -> NDArray[np.uint8]:
        """Third step of a call: compute the mask of one image from the network's outputs.

        Raises BackendError if the network computes NaN, or the same output for every image.  If the
        graph computes the masks, that is detected in the cases listed in `blank_masks`.
        """
        mask = self._form.finish(outputs, prepared)
        self._blank_masks.check(outputs)
        return mask

    def highest_level(self, outputs: Tensors) -> int | None:
        """Return the highest probability in the mask of one image, 0 to 255, from its outputs.

        None if it is unknown: a graph in the frames form computes a stretched mask from it.
        """
        return self._form.highest_level(outputs)

    @property
    def machine(self) -> tuple[str, ...]:
        """Device, driver and libraries, for the self-test's record; empty on ONNX Runtime's CPU."""
        return self._open().machine

    def close(self) -> None:
        """Release the session or the engine.  Closing twice has no effect."""
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
        """Stack a batch; the last image is repeated up to the artifact's minimum batch."""
        count = max(len(images), self._batch.minimum)
        size = count * sum(value.nbytes for value in images[0].inputs.values())
        if size > _CHECKED_FROM:
            check_memory(size, f"a batch of {count:,} images", "use a smaller batch")
        images = images + [images[-1]] * (count - len(images))
        return {name: np.stack([p.inputs[name] for p in images]) for name in images[0].inputs}


def _same_shapes(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Group the indices of images whose inputs have the same shapes."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index, image in enumerate(prepared):
        shapes = tuple(value.shape for value in image.inputs.values())
        groups.setdefault(shapes, []).append(index)
    return list(groups.values())


def _chunks(indices: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]

"""Artifacts that Triton can serve as versions of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dsunet_export.errors import ExportError
from dsunet_export.servers.triton_options import DEFAULT_BATCH, TritonBackend, TritonOptions
from dsunet_runtime.artifact.manifest import InputForm, Manifest, TensorSpec
from dsunet_runtime.artifact.shapes import batch_range, input_ranges
from dsunet_runtime.message_text import quote


@dataclass(frozen=True, slots=True)
class Batching:
    """Triton's dynamic batching: the batches that it makes of single requests."""

    largest: int
    """Triton's `max_batch_size`: 0 if requests are not joined, and shapes include the batch."""
    preferred: tuple[int, ...] = ()
    """Batches that are computed without waiting for more requests."""

    @classmethod
    def of(cls, manifest: Manifest, options: TritonOptions) -> Self:
        """Return what an artifact allows.

        Triton leaves the batch out of shapes only if every tensor begins with a dynamic batch.
        Raises ExportError if `options` exceed that.
        """
        taken, given = batch_range(manifest), options.max_batch
        if any(isinstance(spec.shape[0], int) for spec in (*manifest.inputs, *manifest.outputs)):
            if given is not None:
                raise ExportError(
                    f"--max-batch {given}: the artifact's batch is fixed, so Triton cannot join "
                    f"requests: export it with `--batch dynamic`, or omit --max-batch"
                )
            return cls(0)
        if options.backend is TritonBackend.OPENVINO:
            return cls(0)
        if taken.maximum is not None and not taken.minimum == 1 < taken.maximum:
            raise ExportError(
                f"the engine takes batches of {taken}, and Triton sends single images and joins "
                f"them: build it with `--batch 1:4:8`, or from a graph exported with `--batch 1`"
            )
        largest = given or taken.maximum or DEFAULT_BATCH
        if largest not in taken:
            raise ExportError(
                f"--max-batch {given}: the engine takes batches of {taken}: use at most "
                f"{taken.maximum}, or build it with another `--batch`"
            )
        preferred = {largest} if taken.maximum is None else {min(taken.optimum, largest), largest}
        return cls(largest, tuple(sorted(preferred - {1})))


def check_agreement(first: str, manifest: Manifest, other: str, second: Manifest) -> None:
    """Raise ExportError unless two artifacts can be versions of one model.

    Triton has one configuration for all versions.  `first` and `other` are their names.
    """
    for (field, one), two in zip(
        _interface(manifest).items(), _interface(second).values(), strict=True
    ):
        if one != two:
            raise ExportError(
                f"{other} and {first} cannot be versions of one model: {field} differs "
                f"({quote(two)} and {quote(one)}): serve it as another model, with --name"
            )


def _interface(manifest: Manifest) -> dict[str, str]:
    """Return the properties that all versions of a model must share, as text."""
    preprocessing = manifest.preprocessing
    is_tensors = manifest.input_form is InputForm.TENSORS
    return {
        "the kind of file": "ONNX" if manifest.engine is None else "engine",
        "the form of the inputs": manifest.input_form.value,
        "the input": _in_words(manifest.inputs),
        "the output": _in_words(manifest.outputs),
        "the range of shapes": ", ".join(
            f"{name} {'×'.join(map(str, ranges))}"
            for name, ranges in input_ranges(manifest).items()
        ),
        "the mask": manifest.mask_form.value,
        "the preprocessing": f"{preprocessing.mean} {preprocessing.std}" if is_tensors else "",
    }


def _in_words(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(
        f"{spec.name}: {spec.dtype} {'×'.join(map(str, spec.shape))}" for spec in specs
    )

"""The contract between export and runtime: one JSON document that describes an artifact.

It is stored in the metadata of an ONNX file under `METADATA_KEY`, and beside an engine as
`NAME.engine.json`.  `document` says how it carries its own digest.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dsunet_runtime import document
from dsunet_runtime.bounds import check_bounds
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import open_regular
from dsunet_runtime.flavor import Flavor
from dsunet_runtime.json_text import JsonError, parse_object
from dsunet_runtime.message_text import printable, reason
from dsunet_runtime.plain_values import decode

METADATA_KEY = "dsunet_manifest"
FORMAT_VERSION = 2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""How both encoders' images are normalised, RGB with values from 0 to 1."""

FLOAT8 = "float8e4m3fn"
"""How ONNX calls the 8-bit float that TensorRT computes with."""

STRETCH_EPSILON = 1e-8
"""The published code's guard against dividing by zero where a mask has one value only."""


class InputForm(enum.StrEnum):
    """What goes in and what comes out."""

    FRAMES = "frames"
    """`image`, uint8 N×H×W×3 RGB, to `mask`, uint8 N×H×W; all image arithmetic in the graph."""
    TENSORS = "tensors"
    """`hiera` N×3×S×S and `dino` N×3×T×T, normalised float32, to `logits` N×1×S×S, float32."""


class MaskForm(enum.StrEnum):
    """How logits become an 8-bit mask, after resampling to the image's size and the sigmoid."""

    STRETCHED = "stretched"
    """The paper's: each mask stretched to span 0 to 255, then truncated to 8 bits."""
    PROBABILITY = "probability"
    """The probability itself, times 255, rounded half up to 8 bits."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.  A dimension is a number, or the name of a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    layout: str
    range: str


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From an RGB image to the encoders' inputs.

    The image is resampled to each encoder's square size with Pillow's antialiased bilinear filter
    on 8-bit values, divided by 255, and normalised with `mean` and `std` per channel.
    """

    in_graph: bool
    sizes: dict[str, int]
    """Side of each encoder's input by its tensor's name: `hiera`, and `dino` if there is one."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class KeptInFloat32:
    """A part of the graph that computes in float32 although the rest does not."""

    pattern: str
    """Of node names, which are `module.path/OpType`, as `fnmatch` reads it."""
    reason: str
    nodes: int
    """How many nodes the pattern kept that no pattern before it did."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest magnitude that measurement found in the float32 graph."""

    tensor: str
    magnitude: float
    images: str
    """What was put in."""


@dataclass(frozen=True, slots=True)
class NarrowedWeights:
    """What became of the weights; each number counts single numbers."""

    narrowed: int
    """Stored in the reduced type."""
    kept: int
    """Stored in float32."""
    subnormal: int
    """Of the narrowed, so small that they lost digits."""
    zeroed: int
    """Of the narrowed, so small that they became zero."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Matrix products of both encoders in 8 bits, by Q/DQ nodes in the graph.

    Symmetric: activations with one scale a tensor, weights with one a column.
    """

    data_type: str
    """`int8` or `float8e4m3fn`."""
    products: int
    """How many are quantised,"""
    candidates: int
    """of how many that have a weight."""
    weights: int
    """Single numbers that are stored in 8 bits."""
    images: int
    """On so many were ranges measured."""
    noise: float | None
    """Largest noise that rounding to integers adds to what a product reads there, as a share of its
    RMS; None for floats, whose steps follow the number's size."""


@dataclass(frozen=True, slots=True)
class Precision:
    """The element type of the weights and matrix products, and what is kept in float32."""

    compute: str = "float32"
    """`float32`, `float16` or `bfloat16`."""
    kept_in_float32: tuple[KeptInFloat32, ...] = ()
    peaks: tuple[Peak, ...] = ()
    """The few largest of all tensors that are now in less than float32; none if nothing was
    measured, as for bfloat16, whose range is float32's."""
    weights: NarrowedWeights | None = None
    """None for float32."""
    quantized: Quantization | None = None
    """What is in less than `compute`, if anything is."""

    @property
    def element_type(self) -> str:
        """Of the encoders' matrix products, which are most of the network."""
        return self.quantized.data_type if self.quantized else self.compute


@dataclass(frozen=True, slots=True)
class Profile:
    """For an engine: the range of one input's shape."""

    input: str
    minimum: tuple[int, ...]
    optimum: tuple[int, ...]
    maximum: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One exact rewrite of the graph, and the network's multiply-adds before and after it."""

    name: str
    macs_before: int
    macs_after: int


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file that belongs to the artifact."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PrecisionProof:
    """What TensorRT's own view of the network says of its precision, before it built."""

    layers: int
    layers_reduced: int
    """Those whose outputs are all of the engine's reduced type, among those that compute floats."""
    weight_bytes: int
    """Of weights that are floats."""
    weight_bytes_reduced: int
    weight_bytes_quantized: int = 0
    """Of weights that are quantised."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What TensorRT built of the graph, and where it can run."""

    file: FileDigest
    flavor: Flavor
    tensorrt_version: str
    platform: str
    """Operating system and processor that it was built on, for example `linux x86_64`; an engine of
    classic TensorRT runs on no other."""
    compute_capabilities: tuple[str, ...]
    """For example `8.9`."""
    gpus: tuple[str, ...]
    """Names of those that were asked for; of the GPU it was built on if nothing was asked, and
    always for classic TensorRT; none if only compute capabilities were asked for."""
    weights_stripped: bool
    """Whether the weights stay in the ONNX file, from which the runtime refits them."""
    optimization_level: int | None
    """None is TensorRT's own choice."""
    proof: PrecisionProof
    activation_bytes: int | None
    """Device memory of one execution context at the profile's maximum, as the builder says; None
    if it does not."""
    weight_bytes: int | None
    """Device memory of the weights, as the builder says; None if it does not."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What one comparison measured: of the artifact, or of what it was made from."""

    inputs: str
    """What was put in: for example `random 352, 518` or `photograph astronaut 512x512`."""
    output: str
    max_abs_error: float
    mean_abs_error: float
    tolerance: float
    """The bound on `max_abs_error`; what it is relative to is said in `tolerance_unit`."""
    mean_tolerance: float
    """The bound on `mean_abs_error`."""
    tolerance_unit: str
    computed_by: str = "ONNX Runtime"
    """And against what: `ONNX Runtime against PyTorch`.  For less than float32 also with every
    tensor rounded, because ONNX Runtime leaves out roundings that a GPU makes."""
    iou_at_half: float | None = None
    """Of the logits above 0, where a hundredth of them lies on either side.  Else, for random
    weights, of those above their median.  None for other weights, and where it was not asked for.
    """


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a runtime or a reader needs to know about an artifact."""

    model: dict[str, Any]
    """DSUNetConfig as plain values."""
    input_form: InputForm
    mask_form: MaskForm
    """For `tensors`: what the runtime makes of the logits unless told otherwise."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    weights_origin: str
    """Where the weights come from: a file's name, or `random (seed N)`."""
    weights_are_random: bool
    """Whether nobody has trained these weights, so that masks mean nothing."""
    checkpoint_sha256: str | None
    macs: int
    """Multiply-adds of the network for one image, resampling not counted."""
    built_with: dict[str, str]
    graph: FileDigest
    """The ONNX file, as far as it goes before its manifest, which follows it; for an engine the
    one that it was built from, before it was converted if it was."""
    precision: Precision = field(default_factory=Precision)
    rewrites: tuple[Rewrite, ...] = ()
    profiles: tuple[Profile, ...] = ()
    """For an engine: the shapes that it takes, one for each input."""
    engine: Engine | None = None
    """None for an ONNX file."""
    files: tuple[FileDigest, ...] = ()
    """What lies beside the file that holds this manifest: weights that did not fit into it."""
    verification: tuple[Verification, ...] = ()
    format_version: int = FORMAT_VERSION

    def to_json(self, indent: int | None = None) -> str:
        """The document, which carries its own digest (`document` says how); `from_json` reads it
        back to an equal manifest.

        Raises ArtifactError if JSON cannot hold a value: one that is not finite, or a name that is
        not Unicode.
        """
        try:
            return document.seal(dataclasses.asdict(self), indent)
        except JsonError as error:
            raise ArtifactError(f"no manifest can say this: {reason(error)}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the document.

        Raises ArtifactError if it is not one of this format version, has been altered, or says what
        no artifact is.
        """
        try:
            values = parse_object(text)
        except JsonError as error:
            raise ArtifactError(f"the manifest is not readable: it {error}") from error
        if "format_version" not in values:
            raise ArtifactError("the manifest is not readable: it has no format_version")
        version = values["format_version"]
        if version != FORMAT_VERSION:
            later = type(version) is int and version > FORMAT_VERSION
            update = "update dsunet, or " if later else ""
            raise ArtifactError(
                f"the manifest has format version {printable(version)} and this dsunet_runtime "
                f"reads {FORMAT_VERSION}: {update}export (or build) again with this version"
            )
        if not document.is_whole(text):
            raise ArtifactError(
                "the manifest is damaged, or was changed since it was written (its SHA-256 "
                "differs): copy the artifact again, or export it again"
            )
        del values[document.DIGEST_FIELD]
        try:
            manifest: Self = decode(cls, values)
            check_bounds(manifest)
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"the manifest does not describe an artifact: update dsunet if a later one wrote "
                f"it, or export again with this version ({reason(error)})"
            ) from error
        return manifest


_BLOCK = 1 << 20


def digest(path: Path, size: int | None = None) -> FileDigest:
    """Name, size in bytes and SHA-256 of a file, or of its first `size` bytes."""
    sha256 = hashlib.sha256()
    with open_regular(path) as file:
        left = size = os.fstat(file.fileno()).st_size if size is None else size
        while left and (block := file.read(min(left, _BLOCK))):
            sha256.update(block)
            left -= len(block)
    return FileDigest(path.name, size - left, sha256.hexdigest())

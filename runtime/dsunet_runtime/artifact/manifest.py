"""The contract between export and runtime: one JSON document that describes an artifact.

It is stored in the metadata of an ONNX file under `METADATA_KEY`, and next to an engine as
`NAME.engine.json`.  It contains its own digest (see `document`).
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from typing import Any, Self

from dsunet_runtime.artifact import document
from dsunet_runtime.artifact.bounds import check_bounds
from dsunet_runtime.artifact.file_digest import FileDigest
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.json_text import JsonError, parse_object
from dsunet_runtime.message_text import reason
from dsunet_runtime.plain_values import KEY, FieldError, decode, encode

METADATA_KEY = "dsunet_manifest"
FORMAT_VERSION = 2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation for the inputs of both encoders, RGB in 0 to 1."""

FLOAT8 = "float8e4m3fn"
"""ONNX's name of the 8-bit float that TensorRT supports."""

STRETCH_EPSILON = 1e-8
"""Added to the range of a mask before division, as in the published code."""


class InputForm(enum.StrEnum):
    """Form of an artifact's inputs and outputs."""

    FRAMES = "frames"
    """From `image` (uint8, N×H×W×3, RGB) to `mask` (uint8, N×H×W), with all image processing."""
    TENSORS = "tensors"
    """From `hiera` (N×3×S×S) and `dino` (N×3×T×T), normalised, to `logits` (N×1×S×S); float32."""


class MaskForm(enum.StrEnum):
    """Conversion of probabilities to an 8-bit mask, after resampling to the size of the image."""

    PROBABILITY = "probability"
    """The probability times 255, rounded to the nearest integer (ties up)."""
    STRETCHED = "stretched"
    """As in the paper: each mask is stretched to the range 0 to 255, then truncated to 8 bits.

    This amplifies noise: the mask of an image without an object reaches 255, too."""


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
    """Preprocessing from an RGB image to the encoders' inputs.

    The image is resampled to each encoder's square size with Pillow's antialiased bilinear filter
    on 8-bit values, divided by 255, and normalised with `mean` and `std` per channel.
    """

    in_graph: bool
    sizes: dict[str, int]
    """Side length of each encoder's input by tensor name: `hiera`, and `dino` if there is one."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


UNFUSED_ATTENTION = "unfused-attention"
"""Name of the rewrite to softmax over transposed scores."""
FLOAT32_SCORES = "attention scores in float32, requested with --attention"
"""`KeptInFloat32.reason` for --attention float32.  Manifests contain it, so do not change it."""


@dataclass(frozen=True, slots=True)
class KeptInFloat32:
    """Nodes of the graph that are kept in float32 in a reduced-precision artifact."""

    pattern: str
    """`fnmatch` pattern of node names, which are `module.path/OpType`."""
    reason: str
    nodes: int
    """Number of nodes that this pattern kept and no earlier pattern did."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest magnitude of a tensor, measured in the float32 graph."""

    tensor: str
    magnitude: float
    images: str
    """The images on which it was measured."""


@dataclass(frozen=True, slots=True)
class NarrowedWeights:
    """Effect of the conversion on the weights; the fields count single values."""

    reduced: int = field(metadata={KEY: "narrowed"})
    """Stored in the reduced type."""
    kept: int
    """Stored in float32."""
    subnormal: int
    """Converted values that became subnormal and lost precision."""
    zeroed: int
    """Converted values that became zero."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Quantisation of the encoders' matmuls to 8 bits, by Q/DQ nodes in the graph.

    It is symmetric, with one scale per tensor for activations and one per column for weights.
    """

    data_type: str
    """`int8` or `float8e4m3fn`."""
    matmuls: int = field(metadata={KEY: "products"})
    """Number of quantised matmuls."""
    candidates: int
    """Number of matmuls that have a weight."""
    weights: int
    """Number of values stored in 8 bits."""
    images: int
    """Number of calibration images."""
    noise: float | None
    """Largest quantisation noise of a matmul's input on them, as a fraction of its RMS; None for
    floats, whose step size is relative."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Element type of weights and matmuls, and the nodes that are kept in float32."""

    compute: str = "float32"
    """`float32`, `float16` or `bfloat16`."""
    kept_in_float32: tuple[KeptInFloat32, ...] = ()
    peaks: tuple[Peak, ...] = ()
    """The largest magnitudes among tensors in reduced precision; empty if they were not measured,
    as for bfloat16, which has the range of float32."""
    weights: NarrowedWeights | None = None
    """None for float32."""
    quantized: Quantization | None = None
    """Quantisation below `compute`, if any."""

    @property
    def element_type(self) -> str:
        """Element type of the encoders' matmuls, which dominate the network."""
        return self.quantized.data_type if self.quantized else self.compute


@dataclass(frozen=True, slots=True)
class OptimizationProfile:
    """An engine's optimisation profile: the range of one input's shape."""

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
class PrecisionReport:
    """Types in the network that TensorRT parsed, before the build: what the engine may use."""

    layers: int
    layers_reduced: int
    """Layers whose outputs all have the reduced type, among layers that compute floats."""
    weight_bytes: int
    """Bytes of floating-point weights."""
    weight_bytes_reduced: int
    weight_bytes_quantized: int = 0
    """Bytes of quantised weights."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A TensorRT engine: how it was built, and where it can run."""

    file: FileDigest
    flavor: Flavor
    tensorrt_version: str
    platform: str
    """Operating system and processor of the build, for example `linux x86_64`; an engine of classic
    TensorRT runs on the same platform only."""
    compute_capabilities: tuple[str, ...]
    """For example `8.9`."""
    gpus: tuple[str, ...]
    """Names of the requested GPUs; for classic TensorRT, and without a request, the GPU of the
    build; empty if only compute capabilities were requested."""
    weights_stripped: bool
    """Whether the engine has no weights, and the runtime refits them from the ONNX file."""
    optimization_level: int | None
    """Builder optimisation level; None for TensorRT's default."""
    precision_report: PrecisionReport = field(metadata={KEY: "proof"})
    activation_bytes: int | None
    """Device memory of one execution context at the profile's maximum, as reported by TensorRT;
    None if unknown."""
    weight_bytes: int | None
    """Device memory of the weights, as reported by TensorRT; None if unknown."""
    shared_weights: FileDigest | None = None
    """The file of frozen weights that the graphs of several domains share, if the trained weights
    of each can replace those of the engine; None if its weights cannot be replaced."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of one comparison of the artifact, or of the model that it was converted from."""

    inputs: str
    """The input: for example `random 352, 518` or `photograph astronaut 512x512`."""
    output: str
    max_abs_error: float
    mean_abs_error: float
    tolerance: float
    """Limit of `p999_abs_error`, in `tolerance_unit`; in artifacts without that, of
    `max_abs_error`."""
    mean_tolerance: float
    """Limit of `mean_abs_error`."""
    tolerance_unit: str
    computed_by: str = "ONNX Runtime"
    """The compared computations, for example `ONNX Runtime against PyTorch`.  Reduced precision is
    also emulated by rounding every tensor, because ONNX Runtime omits some roundings."""
    iou: float | None = field(default=None, metadata={KEY: "iou_at_half"})
    """IoU of the masks at threshold 0.5, that is logits above 0, if at least 1 % of the logits lie
    on either side.  Otherwise for randomly initialised weights: IoU of the logits above their
    median.  None in all other cases."""
    p999_abs_error: float | None = None
    """The error that 99.9 % of the values do not exceed; None in artifacts of earlier versions."""


@dataclass(frozen=True, slots=True)
class SelfTestCase:
    """Reference for one picture of `selftest.pictures`: the output of the float32 network, reduced.

    The numbers are levels of 0 to 255 in the frames form, logits in the tensors form.
    """

    picture: int
    height: int
    width: int
    blocks: tuple[float, ...]
    """Means of blocks (`selftest.coarse`)."""
    points: tuple[float, ...]
    """Values at points."""
    blocks_tolerance: float
    """Limit of the mean absolute difference of the block means."""
    points_tolerance: float
    """Limit of the mean absolute difference at the points."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of an artifact; read it with `dsunet_runtime.read_manifest`."""

    model: dict[str, Any]
    """The model's `DSUNetConfig` as plain values."""
    input_form: InputForm
    mask_form: MaskForm
    """In the tensors form, the runtime applies it to the logits."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    weights_origin: str
    """Origin of the weights: a file name, or `random (seed N)`."""
    weights_are_random: bool
    """Whether the weights are randomly initialised, so that masks are not meaningful."""
    checkpoint_sha256: str | None
    macs: int
    """Multiply-adds of the network for one image, without resampling."""
    built_with: dict[str, str]
    graph: FileDigest
    """The ONNX file up to its manifest, which follows at the end.  For an engine: the ONNX file
    that it was built from, before any conversion."""
    precision: Precision = field(default_factory=Precision)
    rewrites: tuple[Rewrite, ...] = ()
    profiles: tuple[OptimizationProfile, ...] = ()
    """For an engine: the range of shapes of each input."""
    engine: Engine | None = None
    """None for an ONNX file."""
    files: tuple[FileDigest, ...] = ()
    """Further files next to the ONNX file: external weights."""
    verification: tuple[Verification, ...] = ()
    selftest: tuple[SelfTestCase, ...] = ()
    """Empty in artifacts of earlier versions."""
    format_version: int = FORMAT_VERSION

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical document: it differs if anything in the artifact does."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self, indent: int | None = None) -> str:
        """Return the manifest as JSON with its own SHA-256 (see `document`); `from_json` reads it.

        Args:
            indent: Indentation for readability; None for the canonical form.

        Raises:
            ArtifactError: JSON cannot represent a value: a number that is not finite, or a name
                that is not Unicode.
        """
        try:
            return document.seal(encode(self), indent)
        except JsonError as error:
            raise ArtifactError(
                f"the manifest cannot be written as JSON: {reason(error)}"
            ) from error

    @property
    def has_unfused_attention(self) -> bool:
        """Whether the graph was exported with --attention unfused."""
        return any(rewrite.name == UNFUSED_ATTENTION for rewrite in self.rewrites)

    @property
    def has_float32_scores(self) -> bool:
        """Whether the graph was exported with --attention float32."""
        return any(kept.reason == FLOAT32_SCORES for kept in self.precision.kept_in_float32)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a manifest from JSON.

        Raises:
            ArtifactError: The text is not a manifest of this format version, is damaged or edited,
                or has invalid values.
        """
        try:
            values = parse_object(text)
        except JsonError as error:
            raise ArtifactError(f"the manifest is not readable: it {error}") from error
        if "format_version" not in values:
            raise ArtifactError("the manifest is not readable: it has no format_version")
        try:
            version = decode(int, values["format_version"], exact=True, path="format_version")
        except FieldError as error:
            raise ArtifactError(
                f"the manifest is not readable: {error}; export (or build) again"
            ) from error
        if version != FORMAT_VERSION:
            update = "update dsunet, or " if version > FORMAT_VERSION else ""
            raise ArtifactError(
                f"the manifest has format version {version} and this dsunet_runtime "
                f"reads {FORMAT_VERSION}: {update}export (or build) again with this version"
            )
        if not document.is_whole(text):
            raise ArtifactError(
                "the manifest is damaged, or was changed since it was written (its SHA-256 "
                "differs): copy the artifact again, or export it again"
            )
        del values[document.DIGEST_FIELD]
        try:
            manifest = decode(cls, values, exact=False)
            check_bounds(manifest)
        except ValueError as error:
            raise ArtifactError(
                f"the manifest does not describe an artifact: update dsunet if a later one wrote "
                f"it, or export again with this version ({reason(error)})"
            ) from error
        return manifest

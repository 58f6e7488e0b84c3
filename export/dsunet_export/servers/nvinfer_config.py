"""The configuration file of DeepStream's nvinfer, in the format of GLib's key files.

The keys are those of
https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html
"""

from __future__ import annotations

from dataclasses import dataclass

from dsunet_export.servers.nvinfer_graph import OUTPUT

_MODES = {"float32": (0, "fp32"), "float16": (2, "fp16")}
"""nvinfer's `network-mode` of a precision, and its name in the names of engines."""
_SEGMENTATION = 2
_RGB = 0
_NCHW = 0


@dataclass(frozen=True, slots=True)
class NvinferModel:
    """Properties of a graph that the configuration of nvinfer contains."""

    name: str
    precision: str
    """`float32` or `float16`."""
    size: tuple[int, int]
    """Height and width."""
    batch: int
    """Number of streams that nvinfer joins to a batch."""
    has_fixed_batch: bool = False
    """Whether the graph takes no other batch."""

    @property
    def config(self) -> str:
        """Name of the configuration file."""
        return f"config_infer_{self.name}.txt"

    @property
    def graph(self) -> str:
        """Name of the ONNX file that nvinfer builds an engine of."""
        return f"{self.name}_nvinfer.onnx"

    @property
    def engine(self) -> str:
        """Name that nvinfer gives the engine."""
        _, precision = _MODES[self.precision]
        return f"{self.graph}_b{self.batch}_gpu0_{precision}.engine"


def is_supported(precision: str) -> bool:
    """Return whether nvinfer builds engines of a precision without calibration of its own."""
    return precision in _MODES


def make_nvinfer_config(model: NvinferModel) -> str:
    """Return the text of the configuration file, which must be in the folder of the graph.

    nvinfer scales frames to the size of the graph, and gives it `net-scale-factor` × (pixel −
    `offsets`).  It parses the mask as a segmentation into one class, and also attaches the tensor
    itself to the frame (`output-tensor-meta`).
    """
    (height, width), (mode, _) = model.size, _MODES[model.precision]
    keys = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "process-mode": 1,
        "interval": 0,
        "onnx-file": model.graph,
        "model-engine-file": model.engine,
        "batch-size": model.batch,
        "network-mode": mode,
        "infer-dims": f"3;{height};{width}",
        "network-input-order": _NCHW,
        "model-color-format": _RGB,
        "net-scale-factor": 1,
        "offsets": "0;0;0",
        "maintain-aspect-ratio": 0,
        "network-type": _SEGMENTATION,
        "num-detected-classes": 1,
        "segmentation-threshold": 0.5,
        "output-blob-names": OUTPUT,
        "output-tensor-meta": 1,
    }
    lines = [f"# {line}" if line else "#" for line in _introduction(model)]
    lines += ["[property]", *(f"{key}={value}" for key, value in keys.items())]
    return "".join(f"{line}\n" for line in lines)


def _introduction(model: NvinferModel) -> list[str]:
    height, width = model.size
    one = f"batch-size=1 width={width} height={height}"  # the pipeline has one stream
    shapes = f"x3x{height}x{width}"
    smallest = f"--minShapes=image:1{shapes}"
    largest = f"--optShapes=image:{model.batch}{shapes} --maxShapes=image:{model.batch}{shapes}"
    # trtexec refuses shapes of a graph in which all are fixed.
    profile = "" if model.has_fixed_batch else f"{smallest} {largest} "
    return [
        "Written by `dsunet-export deepstream`; it has not been run with DeepStream.",
        "The masks of a video, in colours:",
        "",
        f"gst-launch-1.0 uridecodebin uri=file:///PATH/clip.mp4 ! m.sink_0 "
        f"nvstreammux name=m {one} ! "
        f"nvinfer config-file-path={model.config} ! "
        f"nvsegvisual {one} ! "
        f"nvvideoconvert ! nvv4l2h264enc ! h264parse ! qtmux ! filesink location=masks.mp4",
        "",
        "nvinfer builds the engine when it starts first.  To build it before, in the precisions of "
        "the graph:",
        "",
        f"trtexec --onnx={model.graph} --stronglyTyped {profile}--saveEngine={model.engine}",
        "",
    ]

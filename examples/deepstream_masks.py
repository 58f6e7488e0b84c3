"""Write the masks of a video's frames that DeepStream's nvinfer computes, as PNG files.

    dsunet-export deepstream dsunet.onnx --size 720x1280 -o config
    python examples/deepstream_masks.py clip.mp4 config/config_infer_dsunet.txt masks

It needs DeepStream with its Python bindings (pyds), and nothing of this project.  It has not been
run: no DeepStream was available.
"""

from __future__ import annotations

import configparser
import ctypes
import sys
from pathlib import Path
from typing import Any

import gi
import numpy as np
import pyds
from numpy.typing import NDArray
from PIL import Image

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def main(clip: str, config: str, folder: str) -> None:
    settings = configparser.ConfigParser()
    settings.read(config)
    _, height, width = settings["property"]["infer-dims"].split(";")
    Path(folder).mkdir(exist_ok=True)
    Gst.init(None)
    pipeline = Gst.parse_launch(
        f"uridecodebin uri={Path(clip).absolute().as_uri()} ! m.sink_0 "
        f"nvstreammux name=m batch-size=1 width={width} height={height} ! "
        f"nvinfer name=infer config-file-path={config} ! fakesink"
    )
    pad = pipeline.get_by_name("infer").get_static_pad("src")
    pad.add_probe(Gst.PadProbeType.BUFFER, write_masks, Path(folder))
    pipeline.set_state(Gst.State.PLAYING)
    ended = pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    pipeline.set_state(Gst.State.NULL)
    if ended.type == Gst.MessageType.ERROR:
        sys.exit(str(ended.parse_error()[0]))


def write_masks(pad: Any, info: Any, folder: Path) -> Any:
    """Write the mask of each frame of a buffer."""
    batch = pyds.gst_buffer_get_nvds_batch_meta(hash(info.get_buffer()))
    for data in members(batch.frame_meta_list):
        frame = pyds.NvDsFrameMeta.cast(data)
        for user_data in members(frame.frame_user_meta_list):
            user = pyds.NvDsUserMeta.cast(user_data)
            if user.base_meta.meta_type == pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META:
                meta = pyds.NvDsInferTensorMeta.cast(user.user_meta_data)
                mask = mask_of(pyds.get_nvds_LayerInfo(meta, 0))
                Image.fromarray(mask).save(folder / f"{frame.frame_num:06}.png")
    return Gst.PadProbeReturn.OK


def mask_of(layer: Any) -> NDArray[np.uint8]:
    """Return the mask, H×W, of the output of the graph, 1×H×W with levels divided by 255."""
    height, width = layer.inferDims.d[1], layer.inferDims.d[2]
    pointer = ctypes.cast(pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
    values = np.ctypeslib.as_array(pointer, shape=(height, width))
    return np.rint(255 * values).astype(np.uint8)


def members(node: Any) -> Any:
    """Yield the data of a GLib list."""
    while node is not None:
        yield node.data
        node = node.next


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Send an image to a model that Triton serves, and write the mask that it returns.

    dsunet-export triton dsunet.onnx -o models
    tritonserver --model-repository "$PWD/models"
    python examples/triton_client.py photo.jpg mask.png --model dsunet

It needs `pip install 'tritonclient[http]' pillow`, with --grpc `tritonclient[grpc]`, and nothing of
this project.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from PIL import Image, ImageOps
from tritonclient.utils import InferenceServerException


def main() -> None:
    parser = argparse.ArgumentParser(description="Let Triton compute the mask of an image.")
    parser.add_argument("image", help="image file")
    parser.add_argument("mask", help="PNG file to write")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--version", default="", help="version of the model (default: the last)")
    parser.add_argument("--url", help="HOST:PORT (default: localhost:8000, with --grpc :8001)")
    parser.add_argument("--grpc", action="store_true", help="use gRPC instead of HTTP")
    options = parser.parse_args()
    try:
        write_mask(options)
    except (OSError, ValueError, InferenceServerException) as error:
        sys.exit(f"triton_client.py: {error}")


def write_mask(options: argparse.Namespace) -> None:
    """Send the image, and write the mask."""
    if options.grpc:
        import tritonclient.grpc as triton
    else:
        import tritonclient.http as triton
    with Image.open(options.image) as opened:
        rgb = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = triton.InferInput("image", [1, *rgb.shape], "UINT8")
    image.set_data_from_numpy(rgb[np.newaxis])
    default = "localhost:8001" if options.grpc else "localhost:8000"
    url = (options.url or default).removeprefix("http://").rstrip("/")
    client = triton.InferenceServerClient(url)
    try:
        result = client.infer(options.model, [image], model_version=options.version)
    except OSError as error:
        raise ConnectionError(f"{url}: {error}") from error
    Image.fromarray(result.as_numpy("mask")[0]).save(options.mask)


if __name__ == "__main__":
    main()

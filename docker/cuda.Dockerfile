# Example: build and run engines of TensorRT for RTX.  This project neither builds nor tests it.
# It needs an NVIDIA driver for CUDA 13 and the NVIDIA Container Toolkit on the host.
#
#     docker build -f docker/cuda.Dockerfile -t dsunet:cuda .
#     docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" dsunet:cuda \
#         dsunet-export trt nano16.onnx -o nano.engine
#     docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/data" dsunet:cuda \
#         dsunet-run predict nano.engine photo.jpg -o masks/
#
# nano16.onnx is in FP16 (`dsunet-export onnx --precision fp16`): the conversion of a float32 file
# needs the extra `export`, and with it PyTorch.  For ONNX files on the GPU add the extra `gpu`.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/dsunet
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY dsunet ./dsunet
COPY export ./export
COPY runtime ./runtime
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir -c constraints.txt '.[rtx,cuda]'
ENV PATH=/opt/dsunet/.venv/bin:$PATH

# The container does not need root.  --user replaces this user to write files as yourself.
RUN useradd --create-home dsunet
USER dsunet
WORKDIR /data
CMD ["dsunet-export", "doctor"]

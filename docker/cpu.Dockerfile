# Example: run artifacts on a CPU, with dsunet-run.  This project neither builds nor tests it.
#
#     docker build -f docker/cpu.Dockerfile -t dsunet:cpu .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" dsunet:cpu \
#         predict nano.onnx photo.jpg -o masks/
FROM python:3.11-slim-bookworm

WORKDIR /opt/dsunet
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY dsunet ./dsunet
COPY export ./export
COPY runtime ./runtime
RUN pip install --no-cache-dir -c constraints.txt '.[cpu]'

# The container does not need root.  --user replaces this user to write files as yourself.
RUN useradd --create-home dsunet
USER dsunet
WORKDIR /data
ENTRYPOINT ["dsunet-run"]
CMD ["--help"]

"""Files that the graph of an ONNX file reads weights from, found without the onnx package.

A graph may name any file, at any depth.  TensorRT opens all of them, and would block on a pipe.
"""

from __future__ import annotations

import os
from pathlib import Path

from dsunet_runtime.artifact.file_kinds import why_no_artifact
from dsunet_runtime.artifact.onnx_metadata import NotProtobufError, next_field, read_entry
from dsunet_runtime.errors import ArtifactError
from dsunet_runtime.files import open_regular
from dsunet_runtime.message_text import reason

# Messages of onnx.proto that contain tensors: field numbers of nested messages.
_MESSAGES = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        **dict.fromkeys((5, 10), "Tensor"),
        **dict.fromkeys((6, 11), "Graph"),
        **dict.fromkeys((22, 23), "SparseTensor"),
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def external_files(path: Path) -> set[str]:
    """Return the names of the files that a graph reads weights from, relative to its folder.

    Raises ArtifactError if the file cannot be read or is not a complete ONNX file.
    """
    names = set()
    try:
        with open_regular(path) as file:
            pending = [("Model", 0, os.fstat(file.fileno()).st_size)]
            while pending:
                message, position, end = pending.pop()
                file.seek(position)
                if message == "Entry":
                    key, value = read_entry(file, end)
                    if key == "location":
                        names.add(value)
                    continue
                while file.tell() < end:
                    field, length = next_field(file, end)
                    start = file.tell()
                    if field in _MESSAGES[message]:
                        pending.append((_MESSAGES[message][field], start, start + length))
                    file.seek(start + length)
    except OSError as error:
        raise ArtifactError(f"{path}: {reason(error)}") from error
    except (NotProtobufError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: {why_no_artifact(path)}") from error
    return names

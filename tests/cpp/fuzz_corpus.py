"""Write the initial corpora of the libFuzzer targets: `python -m tests.cpp.fuzz_corpus FOLDER`.

A folder for each target, and `a.onnx`, an artifact that takes frames of any size.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from random import Random

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.manifest_file import engine_manifest_file
from dsunet_runtime.plain_values import encode
from tests.runtime import artifacts, engines
from tests.runtime.artifact.test_forged_manifests import change
from tests.runtime.selftests import cases_for, give_selftest

FORGED = 40
SEED = 5


def make_corpus(folder: Path) -> None:
    """Write the samples of all targets; existing files stay."""
    made = folder / "files"
    made.mkdir(parents=True, exist_ok=True)
    onnx = [
        artifacts.frames(folder / "a.onnx"),
        artifacts.frames(made / "external.onnx", external=True),
        artifacts.tensors(made / "tensors.onnx"),
        give_selftest(artifacts.frames(made / "selftest.onnx"), cases_for()),
    ]
    engine = engines.frames(made / "a.engine")
    manifests = [values_of(path) for path in (*onnx, engine)]
    for number, values in enumerate((*manifests, *forged(manifests))):
        sample(folder / "manifest", f"{number}", json.dumps(values).encode())
    for path, values in zip(onnx, manifests, strict=False):
        content = path.read_bytes()
        graph = content[: read_manifest(path).graph.size]
        text = json.dumps(values).encode()
        sample(folder / "artifact", path.stem, b"\0" + content)
        sample(folder / "artifact", f"{path.stem}-made", parts(2, graph, text))
    text = engine_manifest_file(engine).read_bytes()
    sample(folder / "artifact", "engine", parts(1, engine.read_bytes(), text))
    text = json.dumps(manifests[-1]).encode()
    sample(folder / "artifact", "engine-made", parts(3, engine.read_bytes(), text))
    for number, start in enumerate(
        (b"\x89PNG", b"<html>", b"\x80\x02}", b"PK\3\4", b"{}", b"ftrt")
    ):
        sample(folder / "artifact", f"other-{number}", b"\0" + start + bytes(40))
    random = Random(SEED)
    for number in range(FORGED):
        sample(folder / "frames", f"{number}", random.randbytes(200))


def values_of(path: Path) -> dict[str, object]:
    return encode(read_manifest(path))


def forged(manifests: list[dict[str, object]]) -> list[dict[str, object]]:
    random = Random(SEED)
    found = [copy.deepcopy(random.choice(manifests)) for _ in range(FORGED)]
    for values in found:
        change(random, values)
    return [values for values in found if len(json.dumps(values)) < 10_000]


def parts(first_byte: int, graph: bytes, manifest: bytes) -> bytes:
    """Encode two files, as artifact.cpp takes them."""
    return bytes([first_byte]) + len(graph).to_bytes(2, "little") + graph + manifest


def sample(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


if __name__ == "__main__":
    make_corpus(Path(sys.argv[1]))

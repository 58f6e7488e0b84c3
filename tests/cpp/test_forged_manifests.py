"""Forged manifests with a valid digest: C and Python agree about every one.

Known differences: integers beyond 63 bits are read as the largest of 63 bits; and where Python
trusts the hash of the graph, C also refuses a graph that reads files that its manifest does not
name, since it compares hashes only on request.
"""

from __future__ import annotations

import copy
from pathlib import Path
from random import Random

from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.document import seal
from dsunet_runtime.json_text import JsonError
from dsunet_runtime.plain_values import encode
from tests.cpp.both import of_c, of_pythons_checks, refusals, shortened
from tests.cpp.c_interface import Library
from tests.runtime import artifacts, engines
from tests.runtime.artifact.test_forged_manifests import change, writer

SEED, CASES = 13, 450
NO_FILE = "its graph reads weights from 'a.onnx.data', which its manifest does not name"


def forged_documents(path: Path, seed: int, cases: int) -> list[str]:
    random = Random(seed)
    values = encode(read_manifest(path))
    documents = []
    while len(documents) < cases:
        forged = copy.deepcopy(values)
        for _ in range(random.choice((1, 1, 2, 3))):
            change(random, forged)
        try:
            documents.append(seal(forged))
        except JsonError:
            continue
    return documents


def test_of_onnx_files(library: Library, tmp_path: Path) -> None:
    path = artifacts.frames(tmp_path / "a.onnx", external=True)
    write, documents = writer(path), forged_documents(path, SEED, CASES)
    refused = 0
    for number, document in enumerate(documents):
        write(document)
        python, c = refusals(library, path)
        if python is None and c is not None and NO_FILE in c:
            continue
        assert shortened(c) == shortened(python), number
        refused += python is not None
    assert CASES / 4 < refused < CASES


def test_of_engines(library: Library, tmp_path: Path) -> None:
    """Without a backend for them: what is refused before one is needed."""
    path = engines.frames(tmp_path / "a.engine")
    write, documents = writer(path), forged_documents(path, SEED + 1, CASES)
    refused = 0
    for number, document in enumerate(documents):
        write(document)
        python = of_pythons_checks(path)
        c = of_c(library, path, verify_hashes=1, backends="/nowhere")
        if python is not None:
            assert shortened(c) == shortened(python), number
            refused += 1
        else:
            assert c is not None
            assert "manifest does not describe" not in c, number
    assert CASES / 4 < refused < CASES

"""The record of the machines on which a self-test passed, which C and Python share."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsunet_runtime import read_manifest
from dsunet_runtime.selftest import record
from tests.cpp.c_interface import ALWAYS, NEVER, OK, SELFTEST, CallError, Library
from tests.runtime import artifacts
from tests.runtime.artifact.test_broken_artifacts import replace_by
from tests.runtime.selftests import cases_for, give_selftest

MACHINE = ("a GPU", "driver 1.2", "library \u00fc")


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DSUNET_STAND_IN_MACHINE", "\n".join(MACHINE))
    return give_selftest(artifacts.frames(tmp_path / "a.onnx"), cases_for())


def record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.selftest.json")


def status_of(library: Library, path: Path, backends: Path, selftest: int = 0) -> int:
    try:
        library.open(path, backends=backends, selftest=selftest).close()
    except CallError as error:
        return error.status
    return OK


def test_is_pythons(library: Library, artifact: Path, backends: Path) -> None:
    assert status_of(library, artifact, backends) == OK
    manifest = read_manifest(artifact)
    assert record._machines(record_of(artifact), manifest) == (MACHINE,)
    record.record_outcome(artifact, manifest, ("another",), [])
    assert status_of(library, artifact, backends) == OK
    assert record._machines(record_of(artifact), manifest) == (MACHINE, ("another",))


def test_decides_whether_it_is_tested(
    library: Library, artifact: Path, backends: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSUNET_STAND_IN_FAULT", "1")
    assert status_of(library, artifact, backends) == SELFTEST
    assert not record_of(artifact).exists()
    assert status_of(library, artifact, backends, NEVER) == OK
    record.record_outcome(artifact, read_manifest(artifact), MACHINE, [])
    assert status_of(library, artifact, backends) == OK


def test_a_failure_takes_an_earlier_pass_back(
    library: Library, artifact: Path, backends: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(artifact)
    for test in ("open", "selftest"):
        for machine in (MACHINE, ("another",)):
            record.record_outcome(artifact, manifest, machine, [])
        with monkeypatch.context() as broken:
            broken.setenv("DSUNET_STAND_IN_FAULT", "1")
            if test == "open":
                assert status_of(library, artifact, backends, ALWAYS) == SELFTEST
            else:
                with (
                    library.open(artifact, backends=backends, selftest=NEVER) as segmenter,
                    pytest.raises(CallError, match="comparisons are outside the tolerance"),
                ):
                    segmenter.selftest()
        assert record._machines(record_of(artifact), manifest) == (("another",),)
        assert status_of(library, artifact, backends) == OK
        assert record._machines(record_of(artifact), manifest) == (("another",), MACHINE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\0",
        b"[]",
        b'{"manifest_sha256": 5}',
        b'{"machines": [["a GPU"]]}',
        b"IDENTITY",
    ],
)
def test_damaged_ones_are_written_anew(
    library: Library, artifact: Path, backends: Path, content: bytes
) -> None:
    manifest = read_manifest(artifact)
    if content == b"IDENTITY":  # of this artifact, with machines that are none
        text = f'{{"manifest_sha256": "{manifest.sha256}", "machines": [5, null]}}'
        content = text.encode()
    record_of(artifact).write_bytes(content)
    assert status_of(library, artifact, backends) == OK
    assert record._machines(record_of(artifact), manifest) == (MACHINE,)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_replaced(
    library: Library, artifact: Path, backends: Path, kind: str
) -> None:
    replace_by(record_of(artifact), kind)
    assert status_of(library, artifact, backends) == OK
    assert record._machines(record_of(artifact), read_manifest(artifact)) == (MACHINE,)


def test_a_folder_in_its_place(library: Library, artifact: Path, backends: Path) -> None:
    (record_of(artifact) / "inside").mkdir(parents=True)
    assert status_of(library, artifact, backends) == OK
    assert not list(artifact.parent.glob(".dsunet-*"))


def test_a_folder_that_cannot_be_written(library: Library, artifact: Path, backends: Path) -> None:
    """Not even by root: that of this process's open files."""
    descriptor = os.open(artifact, os.O_RDONLY)
    try:
        path = Path(f"/proc/self/fd/{descriptor}")
        assert status_of(library, path, backends) == OK
    finally:
        os.close(descriptor)
    assert not record_of(artifact).exists()


def test_a_full_disk(library: Library, artifact: Path, backends: Path) -> None:
    with files_of_at_most(40):
        status = status_of(library, artifact, backends)
    assert status == OK
    assert [entry.name for entry in artifact.parent.iterdir()] == [artifact.name]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond so many bytes; Python ignores the signal of that."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)

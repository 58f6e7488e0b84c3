"""Classic TensorRT, which needs a GPU even to be created: TensorRT for RTX stands in for it here.

That shows which calls are made and in which order, not what classic TensorRT does with them.
"""

from __future__ import annotations

import enum
import types
from pathlib import Path

import pytest

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.configuration import load_timing_cache
from dsunet_runtime import read_manifest
from dsunet_runtime.artifact.flavor import Flavor, typed_network
from dsunet_runtime.artifact.integrity import check_hashes
from tests.export.engines import RTX_4090, graph, pretend_gpu, stand_in, trt


class TestClassic:
    @pytest.fixture(autouse=True)
    def here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)
        pretend_gpu(monkeypatch, RTX_4090)

    @pytest.fixture
    def small(self, tmp_path: Path) -> Path:
        return graph(tmp_path / "small.onnx", batch=1, side=32)

    def test_engine(self, small: Path, tmp_path: Path) -> None:
        output = tmp_path / "x.engine"
        result = trt(small, "--flavor", "tensorrt", "-o", output)
        assert result.exit_code == 0, result.output
        assert result.stderr.splitlines()[0].endswith(" (as requested), for 8.9")
        manifest = read_manifest(output)
        check_hashes(output, manifest)
        assert manifest.engine is not None
        assert manifest.engine.flavor is Flavor.TENSORRT
        assert manifest.engine.gpus == ("NVIDIA GeForce RTX 4090",)
        assert "tensorrt" in manifest.built_with

    @pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")
    def test_timing_cache(self, small: Path, tmp_path: Path) -> None:
        cache = tmp_path / "new" / "timing.cache"
        arguments = (small, "--flavor", "tensorrt", "-o", tmp_path / "x.engine")
        for _ in range(2):  # written, then read and written again
            result = trt(*arguments, "--timing-cache", cache)
            assert result.exit_code == 0, result.output
            assert cache.stat().st_size > 0
            assert [path.name for path in cache.parent.iterdir()] == ["timing.cache"]
            # As any file that is written here; not for its owner alone.
            assert cache.stat().st_mode == (tmp_path / "x.engine.json").stat().st_mode
        result = trt(*arguments, "--timing-cache", tmp_path)
        assert result.exit_code == 2
        assert "is a folder: name a file in it" in result.stderr

    @pytest.mark.parametrize(("created", "taken"), [(None, True), ("a cache", False)])
    def test_timing_cache_of_another_gpu(
        self, tmp_path: Path, created: object, taken: bool
    ) -> None:
        """What classic TensorRT says of one that it cannot use; RTX takes anything."""
        file = tmp_path / "timing.cache"
        file.write_bytes(b"of another GPU")

        class Config:
            def create_timing_cache(self, content: bytes) -> object:
                assert content == b"of another GPU"
                return created

            def set_timing_cache(self, cache: object, ignore_mismatch: bool) -> bool:
                assert not ignore_mismatch
                return taken

        with pytest.raises(
            ExportError, match=r"is not a timing cache of this TensorRT and .*: delete"
        ):
            load_timing_cache(Config(), file)

    @pytest.mark.parametrize(
        ("members", "flags"),
        [({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 2), ({"UNUSED": 0}, 0)],
        ids=["10", "11"],
    )
    def test_strongly_typed(self, members: dict[str, int], flags: int) -> None:
        """TensorRT 10 has to be asked for it; 11 knows no other, and no longer has the flag."""

        class Builder:
            def create_network(self, flags: int) -> int:
                return flags

        creation_flags = enum.IntEnum("NetworkDefinitionCreationFlag", members)  # type: ignore[misc]
        trt = types.SimpleNamespace(NetworkDefinitionCreationFlag=creation_flags)
        assert typed_network(trt, Builder()) == flags

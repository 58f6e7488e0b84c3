"""Engines in C++ on the stand-ins: the runtime cache of TensorRT for RTX."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dsunet_runtime.backends.tensorrt.runtime_cache import cache_file
from dsunet_runtime.cuda import nvml
from tests.cpp.engine_cases import Case, check, images
from tests.cpp.stand_ins import StandIn
from tests.runtime.fake_cuda import GPU


def cache_of(rtx: Case) -> Path:
    driver = nvml.driver_version() or "cuda13.0"
    return cache_file(rtx.path, GPU, driver, rtx.version)


def test_kernels_are_kept(rtx: Case, gpu: StandIn) -> None:
    cache = cache_of(rtx)
    with rtx.open() as segmenter:
        assert cache.read_bytes() == b"kernels:context;"
        check(segmenter, images((8, 9)))
    assert cache.read_bytes() == b"kernels:context;8x9;"
    before, changed = gpu.calls("compile"), cache.stat().st_ino
    with rtx.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert gpu.calls("compile") == before
    assert cache.stat().st_ino == changed


def test_a_damaged_cache_is_written_again(rtx: Case) -> None:
    cache = cache_of(rtx)
    cache.write_bytes(b"damaged")
    rtx.open().close()
    assert cache.read_bytes() == b"kernels:context;"


def test_older_caches_are_deleted(rtx: Case, tmp_path: Path) -> None:
    cache = cache_of(rtx)
    older = cache_file(rtx.path, GPU, "570.1", "1.0.0.1")
    others = [
        cache_file(rtx.path, dataclasses.replace(GPU, name="NVIDIA L4"), "570.1", "1.0.0.1"),
        cache_file(tmp_path / "b.engine", GPU, "570.1", "1.0.0.1"),
        older.with_suffix(".txt"),
    ]
    for path in (older, *others):
        path.write_bytes(b"kernels:")
    rtx.open().close()
    assert cache.exists()
    assert not older.exists()
    assert all(path.exists() for path in others)


def test_a_cache_that_cannot_be_written(rtx: Case) -> None:
    cache_of(rtx).mkdir()
    with rtx.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert not list(rtx.path.parent.glob(".dsunet-*"))


def test_classic_tensorrt_has_no_cache(classic: Case) -> None:
    before = set(classic.path.parent.iterdir())
    with classic.open() as segmenter:
        check(segmenter, images((8, 9)))
    assert set(classic.path.parent.iterdir()) == before

"""The CPU, as Linux lists it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from dsunet_runtime import processor

XEON = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C
flags\t\t: fpu avx512f avx512_bf16 amx_bf16 avx512_vnni amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_first_core(listed: Path) -> None:
    listed.write_text(XEON)
    assert processor.name() == "Intel(R) Xeon(R) Platinum 8481C"
    assert processor.fast_instructions() == ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni")


@pytest.mark.parametrize("text", ["", "processor: 0\nBogoMIPS: 50\n", None])
def test_other_systems(listed: Path, text: str | None) -> None:
    if text is not None:
        listed.write_text(text)
    assert processor.name() == platform.processor()
    assert processor.fast_instructions() == ()

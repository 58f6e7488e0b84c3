"""The target of an engine: the GPUs, and the choice of the flavor of TensorRT."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import dsunet_runtime.cuda
from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.configuration import EngineOptions
from dsunet_export.tensorrt.gpu_list import list_gpus
from dsunet_export.tensorrt.gpus import GPUS
from dsunet_export.tensorrt.targets import (
    choose_target,
    local_gpu,
    parse_compute_capability,
    parse_hardware,
)
from dsunet_runtime import BackendError, MissingExtraError
from dsunet_runtime.artifact.flavor import Flavor
from dsunet_runtime.extras import install_command
from tests.export.engines import H100, RTX_4090, pretend_gpu, stand_in
from tests.runtime.fake_cuda import FakeCuda

DEFAULTS = EngineOptions()


class TestRequest:
    @pytest.mark.parametrize("text", ["8.9", "89", "sm89", "sm_89", "SM_89", "compute_89", " 8.9 "])
    def test_compute_capability(self, text: str) -> None:
        assert parse_compute_capability(text) == "8.9"
        assert parse_compute_capability(text.replace("8", "12").replace("9", "0")) == "12.0"

    @pytest.mark.parametrize("text", ["", "9", "8.", "8.99", "1200", "12", "4090", "ada", "-8.9"])
    def test_no_compute_capability(self, text: str) -> None:
        with pytest.raises(ExportError, match="is not a compute capability"):
            parse_compute_capability(text)

    def test_both_and_repeated(self) -> None:
        gpus = ["rtx5090", "rtx5080", "rtx5090", "rtx3090"]
        assert list(parse_hardware(gpus, ["8.6", "sm_100"]).items()) == [
            ("8.6", ("GeForce RTX 3090",)),
            ("10.0", ()),
            ("12.0", ("GeForce RTX 5090", "GeForce RTX 5080")),
        ]


class TestFlavor:
    """Which one `auto` takes.  Both are the same package here."""

    @pytest.fixture(autouse=True)
    def both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)

    def test_rtx_where_it_can(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        target = choose_target(options=DEFAULTS)
        assert target.flavor is Flavor.RTX
        assert target.hardware == {"8.9": ("NVIDIA GeForce RTX 4090",)}
        pretend_gpu(monkeypatch, None)
        target = choose_target(["rtx3090"], ["12.0"], options=DEFAULTS)
        assert target.flavor is Flavor.RTX
        assert target.compute_capabilities == ("8.6", "12.0")
        assert target.gpus == ("GeForce RTX 3090",)
        assert target.reason == "preferred"
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        assert choose_target(["rtx3090"], options=DEFAULTS).reason == "the installed one"

    def test_classic_where_rtx_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, H100)
        for requested in ([], []), (["h100"], []), ([], ["90"]):
            target = choose_target(*requested, options=DEFAULTS)
            assert target.flavor is Flavor.TENSORRT
            assert target.hardware == {"9.0": ("NVIDIA H100 80GB HBM3",)}
            assert "does not build for 9.0" in target.reason

    def test_neither(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, None)
        with pytest.raises(
            ExportError,
            match=r"does not build for 9\.0.*has none \(CUDA finds no GPU\): build on a machine",
        ):
            choose_target(["h100"], options=DEFAULTS)

    def test_as_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        target = choose_target(["rtx4090"], ["8.9"], flavor=Flavor.TENSORRT, options=DEFAULTS)
        assert target.flavor is Flavor.TENSORRT
        assert target.reason == "as requested"

    @pytest.mark.parametrize(
        ("gpu", "number", "named"),
        [
            ("rtx5090", "8.9", "not for 12.0: "),
            ("rtx4080", "8.9", "not for GeForce RTX 4080: "),
            ("rtx4090", "8.6", "not for 8.6: "),
        ],
    )
    def test_classic_for_another_gpu(
        self, monkeypatch: pytest.MonkeyPatch, gpu: str, number: str, named: str
    ) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        with pytest.raises(ExportError, match=r"NVIDIA GeForce RTX 4090 \(8.9\), " + named):
            choose_target([gpu], [number], flavor=Flavor.TENSORRT, options=DEFAULTS)

    def test_classic_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, None)
        with pytest.raises(
            ExportError, match=r"this machine has none \(CUDA finds no GPU\): build on a machine"
        ):
            choose_target(["rtx4090"], flavor=Flavor.TENSORRT, options=DEFAULTS)

    @pytest.mark.parametrize("flavor", [None, Flavor.TENSORRT])
    @pytest.mark.parametrize("fault", [ImportError, OSError])
    def test_libraries_that_do_not_load(
        self,
        monkeypatch: pytest.MonkeyPatch,
        flavor: Flavor | None,
        fault: type[Exception],
    ) -> None:
        def load(flavor: Flavor) -> Any:
            raise fault("libnvinfer.so.10: cannot open shared object file")

        monkeypatch.setattr(Flavor, "load", load)
        with pytest.raises(
            ExportError,
            match=r"TensorRT is installed but does not load \(libnvinfer.*--force-reinstall`",
        ):
            choose_target(flavor=flavor, options=DEFAULTS)

    def test_classic_where_rtx_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(flavor: Flavor) -> Any:
            if flavor is Flavor.RTX:
                raise OSError("libtensorrt_rtx.so.1: cannot open shared object file")
            return sys.modules[flavor.module]

        monkeypatch.setattr(Flavor, "load", load)
        pretend_gpu(monkeypatch, RTX_4090)
        target = choose_target(options=DEFAULTS)
        assert target.flavor is Flavor.TENSORRT
        assert re.match(
            r"because TensorRT for RTX is installed but does not load \(libt", target.reason
        )

    def test_classic_where_rtx_has_not_the_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_gpu(monkeypatch, RTX_4090)
        target = choose_target(options=EngineOptions(timing_cache=Path("x")))
        assert target.flavor is Flavor.TENSORRT
        assert target.reason.startswith("because --timing-cache is for --flavor tensorrt: ")
        with pytest.raises(
            ExportError, match=r"--strip-weights takes one .*; .* not for 12\.0, GeForce RTX 4080:"
        ):
            choose_target(["rtx4080"], ["12.0"], options=EngineOptions(strip_weights=True))

    @pytest.mark.parametrize("flavor", [None, *Flavor])
    def test_why_no_gpu_is_found(
        self, monkeypatch: pytest.MonkeyPatch, flavor: Flavor | None
    ) -> None:
        """The message does not say that there is no GPU: without a binding that is unknown."""

        def find() -> None:
            raise BackendError("no binding: pip install 'dsunet[cuda]'")

        monkeypatch.setattr(dsunet_runtime.cuda, "find", find)
        for gpus, options in ([], DEFAULTS), (["rtx4090"], EngineOptions(strip_weights=True)):
            with pytest.raises(ExportError, match=r"\(no binding: pip install 'dsunet\[cuda\]'\)"):
                choose_target(gpus, flavor=flavor, options=options)

    @pytest.mark.parametrize(
        ("flavor", "extras"),
        [(Flavor.RTX, "rtx"), (Flavor.TENSORRT, "tensorrt,cuda")],
    )
    def test_not_installed(
        self, monkeypatch: pytest.MonkeyPatch, flavor: Flavor, extras: str
    ) -> None:
        """The classic one builds for the GPU of this machine, which is found through a binding."""
        monkeypatch.setitem(sys.modules, flavor.module, None)
        match = "not installed: " + re.escape(install_command(extras))
        with pytest.raises(MissingExtraError, match=match):
            choose_target(flavor=flavor, options=DEFAULTS)

    def test_library_package_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """TensorRT itself is installed, and the package with its libraries is not."""
        (tmp_path / "tensorrt.py").write_text("import tensorrt_libraries_that_are_not_here")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        match = (
            r"^TensorRT is installed but does not load \(No module named 'tensorrt_lib.*reinstall`"
        )
        with pytest.raises(ExportError, match=match):
            choose_target(flavor=Flavor.TENSORRT, options=DEFAULTS)

    def test_none_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for flavor in Flavor:
            monkeypatch.setitem(sys.modules, flavor.module, None)
        commands = (re.escape(install_command(extras)) for extras in ("rtx", "tensorrt,cuda"))
        match = "^TensorRT is not installed: {} for GeForce .*, or {} for the GPU".format(*commands)
        with pytest.raises(MissingExtraError, match=match):
            choose_target(options=DEFAULTS)


class TestList:
    """`--gpu list`."""

    def flavors(self) -> dict[str, str]:
        """Return the flavors that build for each GPU, by its name."""
        table = list_gpus().partition("\n\n")[0].splitlines()[1:]
        rows = [re.split(r"  +", line.strip(), maxsplit=2) for line in table]
        return {name: takes for _, takes, names in rows for name in names.split(", ")}

    def test_what_takes_each(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)
        found = self.flavors()
        assert found["GeForce RTX 4090"] == "rtx, tensorrt"
        assert found["H100"] == found["Jetson AGX Orin"] == "tensorrt"

    def test_it_agrees_with_what_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in(monkeypatch)
        pretend_gpu(monkeypatch, None)
        for gpu in GPUS:
            taken = self.flavors()[gpu.name] == "rtx, tensorrt"
            try:
                choose_target([gpu.name], flavor=Flavor.RTX, options=DEFAULTS)
            except ExportError:
                assert not taken, gpu
            else:
                assert taken, gpu

    def test_what_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        stand_in(monkeypatch)
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        rtx, classic = list_gpus().splitlines()[-2:]
        assert re.fullmatch("rtx: builds on any machine; TensorRT for RTX .* is installed", rtx)
        assert classic.endswith(f"not installed: {install_command('tensorrt,cuda')}")

    def test_nothing_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for flavor in Flavor:
            monkeypatch.setitem(sys.modules, flavor.module, None)
        assert self.flavors()["H100"] == "tensorrt"
        assert list_gpus().count("is not installed: pip install") == 2


def test_local_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsunet_runtime.cuda, "find", lambda: FakeCuda((RTX_4090, H100)))
    assert local_gpu() == RTX_4090
    pretend_gpu(monkeypatch, None)
    with pytest.raises(BackendError, match=r"^CUDA finds no GPU$"):
        local_gpu()

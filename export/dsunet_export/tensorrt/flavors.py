"""All that differs between the flavours of TensorRT, and between TensorRT 10 and 11."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsunet_export.errors import ExportError
from dsunet_export.tensorrt.gpus import NamedGpu, find_gpu
from dsunet_runtime.flavor import Flavor

if TYPE_CHECKING:
    from dsunet_runtime.cuda import Gpu

_TURING = "7.5"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine is asked for; both empty if nothing is said."""

    compute_capabilities: tuple[str, ...]
    """Ascending, those of `gpus` among them."""
    gpus: tuple[NamedGpu, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine is built for."""

    compute_capabilities: tuple[str, ...]
    """Ascending, for example `8.9`."""
    gpus: tuple[str, ...]
    """What was asked for by name, or for classic TensorRT the GPU that it is built on."""


class Kit(ABC):
    """A flavour of TensorRT that is installed."""

    flavor: ClassVar[Flavor]

    def __init__(self, trt: Any) -> None:
        self.trt = trt
        """The imported package."""

    @property
    def version(self) -> str:
        """For example `1.7.1.116`."""
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.flavor.title} {self.version}"

    def create_network(self, builder: Any) -> Any:
        """An empty network that computes in the types that the graph says.

        TensorRT 11 and TensorRT for RTX know no other; for TensorRT 10 it is a choice.
        """
        flags = self.trt.NetworkDefinitionCreationFlag
        typed = getattr(flags, "STRONGLY_TYPED", None)
        return builder.create_network(0 if typed is None else 1 << int(typed))

    @abstractmethod
    def target(self, wanted: Wanted, here: tuple[Gpu, ...]) -> Target:
        """What to build for, with the GPUs that are here.

        Raises ExportError with the reason if this flavour cannot build what is wanted.
        """

    @abstractmethod
    def aim(self, config: Any, target: Target) -> None:
        """Set the target in a builder's configuration."""

    @abstractmethod
    def check_timing_cache(self) -> None:
        """Raise ExportError with the reason if a timing cache is of no use."""

    @abstractmethod
    def check_strip_weights(self, here: tuple[Gpu, ...]) -> None:
        """Raise ExportError with the reason if an engine without weights cannot be built."""


class RtxKit(Kit):
    """TensorRT for RTX."""

    flavor = Flavor.RTX

    def target(self, wanted: Wanted, here: tuple[Gpu, ...]) -> Target:
        """Anything that it knows, on any machine."""
        asked = wanted.compute_capabilities
        if not asked and not here:
            raise ExportError(
                "there is no GPU here to build for: name one with --gpu, for example "
                "`--gpu rtx4090` (`--gpu list` prints all)"
            )
        asked = asked or (here[0].compute_capability,)
        known = self.compute_capabilities()
        unknown = [cc for cc in asked if cc not in known]
        if unknown:
            raise ExportError(
                f"{self.title} does not build for {_in_words(unknown, wanted)}, only for "
                f"{', '.join(known)}: leave it out, or use --flavor tensorrt on a machine with "
                f"that GPU"
            )
        if _TURING in asked and len(asked) > 1:
            others = ", ".join(cc for cc in asked if cc != _TURING)
            raise ExportError(
                f"{self.flavor.title} keeps Turing ({_TURING}) apart, because an engine for it and "
                f"later ones is slower on all: build one engine for {_TURING} and another for "
                f"{others}"
            )
        names = tuple(gpu.name for gpu in wanted.gpus)
        return Target(asked, names or (() if wanted.compute_capabilities else (here[0].name,)))

    def aim(self, config: Any, target: Target) -> None:
        """Compute capabilities, one or several."""
        config.num_compute_capabilities = len(target.compute_capabilities)
        for index, cc in enumerate(target.compute_capabilities):
            member = getattr(self.trt.ComputeCapability, _member(cc))
            config.set_compute_capability(member, index)

    def check_timing_cache(self) -> None:
        """Refuse: nothing is timed while it builds."""
        raise ExportError(
            "--timing-cache is for --flavor tensorrt: TensorRT for RTX times nothing while it "
            "builds, because it chooses kernels on the GPU that runs the engine"
        )

    def check_strip_weights(self, here: tuple[Gpu, ...]) -> None:
        """Refuse without a GPU: what can be refitted is compiled by the CUDA driver."""
        if not here:
            raise ExportError(
                "--strip-weights needs a GPU here: TensorRT for RTX compiles what can be refitted "
                "with the CUDA driver; build on a machine that has one, or keep the weights"
            )

    def compute_capabilities(self) -> list[str]:
        """Those that this version knows, ascending."""
        members = self.trt.ComputeCapability.__members__
        numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
        return [f"{number // 10}.{number % 10}" for number in numbers]


class ClassicKit(Kit):
    """TensorRT 10 and 11."""

    flavor = Flavor.TENSORRT

    def target(self, wanted: Wanted, here: tuple[Gpu, ...]) -> Target:
        """The GPU that CUDA puts first here, and no other: kernels are chosen by timing them."""
        if not here:
            raise ExportError(
                "TensorRT builds on the GPU that the engine is for, and there is none here: run "
                "this where that GPU is, or use --flavor rtx (pip install 'dsunet[rtx]')"
            )
        gpu = here[0]
        cc = gpu.compute_capability
        others = [other for other in wanted.compute_capabilities if other != cc]
        others += [named.name for named in wanted.gpus if not _may_be(named, gpu)]
        if others:
            raise ExportError(
                f"TensorRT builds for the GPU that it runs on, {gpu.name} ({cc}), not for "
                f"{', '.join(others)}: run this where that GPU is (CUDA_VISIBLE_DEVICES chooses "
                f"among several), or use --flavor rtx"
            )
        return Target((cc,), (gpu.name,))

    def aim(self, config: Any, target: Target) -> None:
        """Nothing to set: it is the GPU here."""

    def check_timing_cache(self) -> None:
        """It is of use."""

    def check_strip_weights(self, here: tuple[Gpu, ...]) -> None:
        """It can be built wherever this flavour builds."""


KITS: dict[Flavor, type[Kit]] = {kit.flavor: kit for kit in (RtxKit, ClassicKit)}


def _member(cc: str) -> str:
    return "SM" + cc.replace(".", "")


def _in_words(ccs: list[str], wanted: Wanted) -> str:
    """Compute capabilities, with the names that asked for them."""
    names = {cc: [g.name for g in wanted.gpus if g.compute_capability == cc] for cc in ccs}
    return ", ".join(f"{cc} ({', '.join(names[cc])})" if names[cc] else cc for cc in ccs)


def _may_be(named: NamedGpu, gpu: Gpu) -> bool:
    """Whether a GPU, as its driver calls it, is one that was named."""
    if named.compute_capability != gpu.compute_capability:
        return True  # which is said already
    try:
        return find_gpu(gpu.name) == named
    except ExportError:
        return True  # too new or too rare for the table

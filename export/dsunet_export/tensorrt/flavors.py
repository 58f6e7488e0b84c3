"""All that differs between the flavours of TensorRT, and between TensorRT 10 and 11."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsunet_export.errors import ExportError, MissingExtraError
from dsunet_export.tensorrt.gpus import NamedGpu, find_gpu
from dsunet_runtime.flavor import Flavor, rtx_name, typed_network

if TYPE_CHECKING:
    from dsunet_runtime.cuda import Gpu

_TURING = "7.5"


@dataclass(frozen=True, slots=True)
class LocalGpus:
    """The GPUs of this machine."""

    gpus: tuple[Gpu, ...]
    """In CUDA's order."""
    problem: str | None = None
    """Why CUDA shows none, with what to do; None if it works."""

    @property
    def reason(self) -> str:
        """Why there is none, in words."""
        return self.problem or "CUDA shows none"


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
    """Names of those that were asked for; of the GPU here if nothing was asked, and always for
    classic TensorRT; none if only compute capabilities were asked for."""


class Kit(ABC):
    """A flavour of TensorRT that is installed."""

    flavor: ClassVar[Flavor]
    extras: ClassVar[str]
    """Those of this distribution that bring it, and what else it builds with."""
    fixes_open_sides: ClassVar[bool]
    """Whether it builds for frames of one size from a graph that takes any."""

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
        """An empty network that computes in the types that the graph says."""
        return typed_network(self.trt, builder)

    @abstractmethod
    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """What to build for, with the GPUs that are here.

        Raises ExportError with the reason if this flavour cannot build what is wanted.
        """

    @abstractmethod
    def configure(self, config: Any, target: Target) -> None:
        """Set in a builder's configuration what this flavour alone has, its target above all."""

    @abstractmethod
    def check_timing_cache(self) -> None:
        """Raise ExportError with the reason if a timing cache is of no use."""

    @abstractmethod
    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """Raise ExportError with the reason if an engine without weights cannot be built."""


class RtxKit(Kit):
    """TensorRT for RTX."""

    flavor = Flavor.RTX
    extras = "rtx"
    # 1.7.1 fails with "MyelinCheckException: host_instr.cpp:1573" if one side alone is fixed.
    fixes_open_sides = False

    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """Anything that it knows, on any machine."""
        asked = wanted.compute_capabilities
        if not asked and not here.gpus:
            raise ExportError(
                f"no GPU is found here to build for ({here.reason}): name one with --gpu, for "
                f"example `--gpu rtx4090` (`--gpu list` prints all)"
            )
        asked = asked or (here.gpus[0].compute_capability,)
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
                f"an engine for Turing ({_TURING}) and later GPUs may be slower on those, and "
                f"NVIDIA advises one of its own: build one engine for {_TURING} and another for "
                f"{others}"
            )
        names = tuple(gpu.name for gpu in wanted.gpus)
        return Target(asked, names or (() if wanted.compute_capabilities else (here.gpus[0].name,)))

    def configure(self, config: Any, target: Target) -> None:
        """Compute capabilities, one or several; and no memory but what the runtime gives."""
        config.num_compute_capabilities = len(target.compute_capabilities)
        for index, cc in enumerate(target.compute_capabilities):
            member = getattr(self.trt.ComputeCapability, rtx_name(cc))
            config.set_compute_capability(member, index)
        # Else it may allocate while it runs, which nothing can be that is captured into a graph.
        config.set_flag(self.trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def check_timing_cache(self) -> None:
        """Refuse: nothing is timed while it builds."""
        raise ExportError(
            "--timing-cache is for --flavor tensorrt: TensorRT for RTX times nothing while it "
            "builds, because it chooses kernels on the GPU that runs the engine"
        )

    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """Refuse without a GPU, and for more than one compute capability, as NVIDIA says."""
        if not here.gpus:
            raise ExportError(
                f"--strip-weights needs a GPU here ({here.reason}), because TensorRT for RTX "
                f"compiles what can be refitted with the CUDA driver: build on a machine that has "
                f"one, or keep the weights"
            )
        if len(target.compute_capabilities) > 1:
            raise ExportError(
                f"--strip-weights is for one compute capability on TensorRT for RTX, and "
                f"{', '.join(target.compute_capabilities)} are asked for: build one engine for "
                f"each, or keep the weights"
            )

    def compute_capabilities(self) -> list[str]:
        """Those that this version knows, ascending."""
        members = self.trt.ComputeCapability.__members__
        numbers = sorted(int(name[2:]) for name in members if name.startswith("SM"))
        return [f"{number // 10}.{number % 10}" for number in numbers]


class ClassicKit(Kit):
    """TensorRT 10 and 11."""

    flavor = Flavor.TENSORRT
    extras = "tensorrt,cuda"
    fixes_open_sides = True

    def target(self, wanted: Wanted, here: LocalGpus) -> Target:
        """The GPU that CUDA puts first here, and no other: kernels are chosen by timing them."""
        if not here.gpus:
            raise ExportError(
                f"TensorRT builds on the GPU that the engine is for, and none is found here "
                f"({here.reason}): run this where that GPU is, or use --flavor rtx (pip install "
                f"'dsunet[rtx]')"
            )
        gpu = here.gpus[0]
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

    def configure(self, config: Any, target: Target) -> None:
        """Nothing to set: it builds for the GPU here."""

    def check_timing_cache(self) -> None:
        """It is of use."""

    def check_strip_weights(self, target: Target, here: LocalGpus) -> None:
        """It can be built wherever this flavour builds."""


KITS: dict[Flavor, type[Kit]] = {kit.flavor: kit for kit in (RtxKit, ClassicKit)}


def load(flavor: Flavor) -> Kit:
    """A flavour, ready to build with.  Raises MissingExtraError if it is not installed."""
    kit = KITS[flavor]
    try:
        return kit(flavor.load())
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{flavor.title} is not installed: pip install 'dsunet[{kit.extras}]'"
        ) from error
    except (ImportError, OSError) as error:
        raise ExportError(
            f"{flavor.title} is installed but does not load ({error}): install it again with "
            f"`pip install --force-reinstall 'dsunet[{kit.extras}]'`"
        ) from error


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

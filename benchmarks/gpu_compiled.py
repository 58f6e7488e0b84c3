"""The model compiled block by block with `torch.compile`, so that compilation takes seconds.

Encoder blocks of one kind share one compiled function; other modules are compiled separately.
Inductor's own CUDA graphs are bound to the thread that records them, and each measurement has its
own thread; therefore graphs are captured by `gpu_calls.captured`.

Two choices are made at each call, without compiling again: see `with_choices`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from gpu_ceiling import best
from gpu_frames import Frames
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


@dataclass(frozen=True)
class Choices:
    """What the compiled model does at a call, and so in a graph that is captured meanwhile."""

    two_streams: bool = False
    """Run Hiera on a stream of its own, beside DINOv2."""
    tanh_gelu: bool = False
    """Compute GELU by tanh in the epilogue of the matmul (cuBLAS), instead of exactly after it.

    The two differ by at most 4.8e-4.
    """


_CHOSEN = [Choices()]


def with_choices(call: Callable[..., Any], choices: Choices) -> Callable[..., Any]:
    """Wrap a call of the compiled model to make these choices."""

    def chosen(**inputs: Tensor) -> Any:
        _CHOSEN[0] = choices
        return call(**inputs)

    return chosen


def parts(frames: Frames) -> Iterator[tuple[str, nn.Module]]:
    """Return the top-level modules that are called, by name."""
    network = frames.model
    yield "preprocess", frames.preprocess
    for name, module in network.named_children():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{name}.{key}", child) for key, child in module.named_children())
        else:
            yield name, module
    yield "postprocess", frames.postprocess


def compiled(frames: Frames, attention: str | None) -> Callable[..., Any]:
    """Compile a model in place, maps channels last and constants held, and return its call.

    `attention` is the name of the backend to prefer.
    """
    frames.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _hold_constants(frames)
    _separate_gelu(frames.model)
    _compile_parts(frames)
    _separate_streams(frames.model)
    return _with_attention(frames, attention)


def _hold_constants(frames: Frames) -> None:
    """Compute constants once instead of at each call, and patch embeddings as matmuls.

    The results are the same up to rounding.
    """
    trunk, vit = frames.model.hiera.trunk, frames.model.dino.vit  # type: ignore[union-attr]
    side = frames.model.config.hiera.map_sizes[0]
    with torch.inference_mode():
        position = trunk._get_pos_embed((side, side)).clone()
    trunk._get_pos_embed = lambda size: position
    vit.patch_embed.proj = PatchMatmul(vit.patch_embed.proj)


class PatchMatmul(nn.Module):
    """A convolution whose stride is its kernel size, as one matmul.

    With three input channels, the convolution itself is slow.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.side = convolution.kernel_size[0]
        self.weight = nn.Parameter(convolution.weight.flatten(1).contiguous(), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, image: Tensor) -> Tensor:
        """N×3×S×S to N×C×s×s."""
        patches = image.unflatten(2, (-1, self.side)).unflatten(4, (-1, self.side))
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(patches, self.weight, self.bias).permute(0, 3, 1, 2)


@torch.library.custom_op("dsunet_benchmarks::linear_gelu", mutates_args=())
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU of a linear layer, ...×C to ...×D.  The compiler does not look inside."""
    rows, columns = x.flatten(0, -2), weight.t()
    if _CHOSEN[0].tanh_gelu:
        found = torch._addmm_activation(bias, rows, columns, use_gelu=True)
    else:
        found = F.gelu(torch.addmm(bias, rows, columns))
    return found.unflatten(0, x.shape[:-1])


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


class LinearGelu(nn.Module):
    """A linear layer and GELU as one operator."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """...×C to ...×D."""
        return linear_gelu(x, self.weight, self.bias)  # type: ignore[no-any-return]


def _separate_gelu(model: nn.Module) -> None:
    """Replace the first layer and the GELU of every MLP of the encoders by `LinearGelu`."""
    for block in model.dino.vit.blocks:  # type: ignore[union-attr]
        block.mlp.fc1, block.mlp.act = LinearGelu(block.mlp.fc1), nn.Identity()
    for block in model.hiera.trunk.blocks:  # type: ignore[union-attr]
        block.mlp.layers[0], block.mlp.act = LinearGelu(block.mlp.layers[0]), nn.Identity()


class BesideOther(nn.Module):
    """An encoder that may run on a stream of its own."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.stream: Any = torch.cuda.Stream() if torch.cuda.is_available() else None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As the encoder's; on another stream the results are not ready when it returns."""
        if not _CHOSEN[0].two_streams:
            return self.encoder(image)  # type: ignore[no-any-return]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            return self.encoder(image)  # type: ignore[no-any-return]


class ThenBoth(nn.Module):
    """An encoder after which the one beside it has finished, too."""

    def __init__(self, encoder: nn.Module, beside: BesideOther) -> None:
        super().__init__()
        self.encoder = encoder
        self._beside = [beside]  # in a list, so that it is not registered a second time

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """As the encoder's."""
        maps: tuple[Tensor, ...] = self.encoder(image)
        if _CHOSEN[0].two_streams:
            torch.cuda.current_stream().wait_stream(self._beside[0].stream)
        return maps


def _separate_streams(model: nn.Module) -> None:
    beside = BesideOther(model.hiera)  # type: ignore[arg-type]
    model.hiera = beside
    model.dino = ThenBoth(model.dino, beside)  # type: ignore[arg-type]


def _compile_parts(frames: Frames) -> None:
    """Compile each part by itself, and each block of the encoders.

    Choosing kernels by timing them would take another minute, and cuBLAS is the fastest for
    DINOv2's matmuls: by 18 to 24 % on an H200.
    """
    # There are as many variants of a Hiera block as of its windows and widths.
    torch._dynamo.config.recompile_limit = 64
    for name, module in [*parts(frames)]:
        owner: nn.Module = frames if hasattr(frames, name) else frames.model
        *folder, leaf = name.split(".")
        owner = owner.get_submodule(".".join(folder))
        repeated = [*_repeated(module)]
        for blocks in repeated:
            for index, block in enumerate(blocks):
                blocks[index] = torch.compile(block, dynamic=False)
        if not repeated:
            owner._modules[leaf] = torch.compile(module, dynamic=False)  # type: ignore[assignment]


def _repeated(module: nn.Module) -> Iterator[nn.ModuleList | nn.Sequential]:
    """Yield the blocks and adapters of an encoder."""
    for path in ("vit.blocks", "trunk.blocks", "adapters"):
        try:
            yield module.get_submodule(path)  # type: ignore[misc]
        except AttributeError:
            continue


def attention_times(model: nn.Module, batch: int, device: str) -> dict[str, float]:
    """Return the seconds of DINOv2's attention in float16 by PyTorch backend, the fastest first.

    Of one layer, on random numbers.
    """
    vit = model.dino.vit  # type: ignore[union-attr]
    attention = vit.blocks[0].attn
    shape = (batch, attention.num_heads, vit.pos_embed.shape[1], attention.head_dim)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.float16) for _ in range(3))
    found = {}
    for backend in BACKENDS[:-1]:
        try:
            with sdpa_kernel(backend):
                found[backend.name] = best(
                    functools.partial(F.scaled_dot_product_attention, q, k, v)
                )
        except RuntimeError:  # the backend has no kernel for it
            continue
    return dict(sorted(found.items(), key=lambda one: one[1]))


def _with_attention(call: Callable[..., Any], first: str | None) -> Callable[..., Any]:
    """Wrap a call to prefer an attention backend where it has a kernel."""
    if first is None:
        return call
    order = sorted(BACKENDS, key=lambda backend: backend.name != first)

    def with_order(**inputs: Tensor) -> Any:
        with sdpa_kernel(order, set_priority=True):
            return call(**inputs)

    return with_order

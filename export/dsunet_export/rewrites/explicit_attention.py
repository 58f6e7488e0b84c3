"""Attention written out as softmax(q kᵀ) v.

The exporter expands PyTorch's fused operation with a scale on both operands and copies a joint
q-k-v tensor apart.  Written out with the scale in the query's weights, each of q, k and v is one
matrix product and one transposition: the least work, and the form that TensorRT fuses.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers import Attention
from torch import Tensor, nn

from dsunet.fusion import MapAttention
from dsunet.model import DSUNet


def explicit_attention(model: DSUNet) -> None:
    """Replace every attention of both encoders and of the decoder."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if isinstance(module, MapAttention):
                setattr(parent, name, ExplicitMapAttention())
            elif isinstance(module, Attention):
                setattr(parent, name, ExplicitViTAttention(module))
            elif type(module).__name__ == "MultiScaleAttention":
                setattr(parent, name, ExplicitHieraAttention(module))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ) v of ...×Q×d, ...×K×d and ...×K×d, the query scaled already, to ...×Q×d."""
    return torch.softmax(query @ key.transpose(-1, -2), -1) @ value


class ScaledQKV(nn.Module):
    """A joint q-k-v projection as three, the query's scaled by 1/√d."""

    def __init__(self, joint: nn.Linear, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = joint.out_features // 3 // num_heads
        q, k, v = joint.weight.detach().chunk(3)
        q_bias, k_bias, v_bias = joint.bias.detach().chunk(3)
        scale = 1 / math.sqrt(self.head_dim)
        self.query = _linear(q * scale, q_bias * scale)
        self.key = _linear(k, k_bias)
        self.value = _linear(v, v_bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """B×N×C to three B×heads×N×d."""
        return self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))

    def heads(self, x: Tensor) -> Tensor:
        """B×N×(heads·d) to B×heads×N×d."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def merge_heads(x: Tensor) -> Tensor:
    """B×heads×N×d to B×N×(heads·d)."""
    return x.transpose(1, 2).flatten(2)


class ExplicitViTAttention(nn.Module):
    """timm's Attention, written out."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv = ScaledQKV(attention.qkv, attention.num_heads)
        self.proj = attention.proj

    def forward(self, x: Tensor, **unused: None) -> Tensor:
        """B×N×C to the same; timm's block also passes mask arguments, always empty here."""
        projected: Tensor = self.proj(merge_heads(attend(*self.qkv(x))))
        return projected


class ExplicitHieraAttention(nn.Module):
    """SAM2's MultiScaleAttention, written out."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv = ScaledQKV(attention.qkv, attention.num_heads)
        self.query_pool = attention.q_pool or nn.Identity()
        self.proj = attention.proj

    def forward(self, x: Tensor) -> Tensor:
        """B×H×W×C to B×h×w×D; smaller where the query is pooled."""
        query = self.query_pool(self.qkv.query(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        size, tokens = query.shape[1:3], x.flatten(1, 2)
        attended = attend(
            self.qkv.heads(query.flatten(1, 2)),
            self.qkv.heads(self.qkv.key(tokens)),
            self.qkv.heads(self.qkv.value(tokens)),
        )
        projected: Tensor = self.proj(merge_heads(attended).unflatten(1, size))
        return projected


class ExplicitMapAttention(nn.Module):
    """The decoder's attention, written out."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three N×C×H×W to one."""
        scale = 1 / math.sqrt(query.shape[1])
        tokens = (x.flatten(2).transpose(1, 2) for x in (query * scale, key, value))
        return attend(*tokens).transpose(1, 2).unflatten(2, query.shape[2:])

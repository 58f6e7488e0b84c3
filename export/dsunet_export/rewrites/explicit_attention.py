"""Attention written out as softmax(q kᵀ) v.

The exporter expands PyTorch's fused attention with a scale on both operands, and splits a joint
q-k-v tensor with copies.  Written out, with the scale folded into the query's weights, each of q, k
and v takes one matmul and one transposition, which is the form that TensorRT fuses.

Two biases are removed.  The key's bias adds the same number to all scores of a query, which softmax
ignores.  The value's bias passes through unchanged, because softmax weights sum to one, and is
folded into the bias of the output projection.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

from dsunet.network.model import DSUNet


def explicit_attention(model: DSUNet) -> None:
    """Replace every attention of both encoders by its explicit form."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if isinstance(module, Attention):
                setattr(parent, name, ExplicitViTAttention(module))
            elif type(module).__name__ == "MultiScaleAttention":
                setattr(parent, name, ExplicitHieraAttention(module))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(q kᵀ) v, ...×Q×d, of a scaled query ...×Q×d, key and value ...×K×d."""
    return torch.softmax(query @ key.transpose(-1, -2), -1) @ value


class AttentionProjections(nn.Module):
    """The four projections of an attention, from its joint q-k-v layer and its output layer.

    The query projection includes the scale 1/√d; key and value have no bias.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.head_dim = attention.qkv.out_features // 3 // self.num_heads
        q, k, v = attention.qkv.weight.detach().chunk(3)
        q_bias, _, v_bias = attention.qkv.bias.detach().chunk(3)
        out, out_bias = attention.proj.weight.detach(), attention.proj.bias.detach()
        scale = 1 / math.sqrt(self.head_dim)
        self.query = _linear(q * scale, q_bias * scale)
        self.key = _linear(k)
        self.value = _linear(v)
        self.out = _linear(out, _add_value_bias(out, out_bias, v_bias))

    def heads(self, x: Tensor) -> Tensor:
        """Split B×N×(heads·d) into B×heads×N×d."""
        split: Tensor = x.unflatten(-1, (self.num_heads, self.head_dim))
        return split.transpose(1, 2)


def _add_value_bias(out: Tensor, out_bias: Tensor, v_bias: Tensor) -> Tensor:
    """Add the value's bias, after the output projection, to the bias of that projection.

    In float64: float32 sums depend on where the weights lie in memory, and domains would not share
    the result.
    """
    return (out_bias.double() + out.double() @ v_bias.double()).to(out.dtype)


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def merge_heads(x: Tensor) -> Tensor:
    """Merge B×heads×N×d into B×N×(heads·d)."""
    return x.transpose(1, 2).flatten(2)


class ExplicitViTAttention(nn.Module):
    """timm's Attention, written out."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.project = AttentionProjections(attention)

    def forward(self, x: Tensor, **unused: None) -> Tensor:
        """Attend over B×N×C.  timm's block also passes mask arguments, which are None here."""
        project = self.project
        query, key, value = (
            project.heads(p(x)) for p in (project.query, project.key, project.value)
        )
        out: Tensor = project.out(merge_heads(attend(query, key, value)))
        return out


class ExplicitHieraAttention(nn.Module):
    """SAM2's MultiScaleAttention, written out."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.project = AttentionProjections(attention)
        self.query_pool = attention.q_pool or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Attend over B×H×W×C; returns B×h×w×D, smaller where the query is pooled."""
        project = self.project
        query = self.query_pool(project.query(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens = x.flatten(1, 2)
        attended = attend(
            project.heads(query.flatten(1, 2)),
            project.heads(project.key(tokens)),
            project.heads(project.value(tokens)),
        )
        out: Tensor = project.out(merge_heads(attended).unflatten(1, query.shape[1:3]))
        return out

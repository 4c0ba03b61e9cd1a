"""A BERT forward pass over windows laid end to end, without padding, for the CPU.

The linear layers are nine tenths of the work and see one matrix [tokens, hidden], whatever the windows' lengths.
Query, key and value are one product; bias, GELU and the residual are taken in oneDNN's own pass over the result
while it is in cache. Attention runs per group of windows of one length. Nothing else is left to do for a padded
batch's rows, so the share of the processor's matrix-multiply peak is high (benchmarks/annotator.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

_ONEDNN = torch.ops.mkldnn


def is_packable(model: Any) -> bool:
    """Whether `PackedBert` computes what this transformers model does, here: BERT's plain variant, on a CPU."""
    config = model.config
    return (
        config.model_type == "bert"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "is_decoder", False)
        and next(model.parameters()).device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(_ONEDNN, "_linear_pointwise")
    )


@dataclass(frozen=True)
class _Linear:
    weight: torch.Tensor  # oneDNN layout, [out, in]
    bias: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor) -> _Linear:
        return cls(weight.to_mkldnn(), bias)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return _ONEDNN._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        return _ONEDNN._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def plus(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return _ONEDNN._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")


@dataclass(frozen=True)
class _Layer:
    qkv: _Linear
    out: _Linear
    norm: tuple[torch.Tensor, torch.Tensor]
    up: _Linear
    down: _Linear
    last_norm: tuple[torch.Tensor, torch.Tensor]


class PackedBert:
    """The weights of a transformers `BertModel` (float32 or bfloat16), rearranged. Only inference."""

    def __init__(self, model: Any):
        config, weights = model.config, model.state_dict()
        self._heads = int(config.num_attention_heads)
        self._epsilon = float(config.layer_norm_eps)
        self._words = weights["embeddings.word_embeddings.weight"]
        # A single sentence is always of type 0.
        self._places = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
        self._layers = [_layer(weights, f"encoder.layer.{i}.") for i in range(int(config.num_hidden_layers))]

    def __call__(self, ids: torch.Tensor, lengths: np.ndarray) -> torch.Tensor:
        """Last hidden states [tokens, hidden] of windows whose `ids` (int64 [tokens]) lie end to end.

        Windows of equal length must be neighbours, or attention runs once per window.
        """
        place = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))
        x = self._normed(F.embedding(ids, self._words) + F.embedding(place, self._places), self._norm)
        groups = _runs(lengths)
        for layer in self._layers:
            attended = layer.out.plus(self._attention(layer.qkv(x), groups), x)
            x = self._normed(attended, layer.norm)
            x = self._normed(layer.down.plus(layer.up.gelu(x), x), layer.last_norm)
        return x

    def _attention(self, qkv: torch.Tensor, groups: list[tuple[int, int]]) -> torch.Tensor:
        hidden = qkv.shape[1] // 3
        out = qkv.new_empty(len(qkv), hidden)
        start = 0
        for length, count in groups:
            stop = start + length * count
            q, k, v = qkv[start:stop].view(count, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v)
            out[start:stop].view(count, length, self._heads, -1).copy_(mixed.transpose(1, 2))
            start = stop
        return out

    def _normed(self, x: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return F.layer_norm(x, (x.shape[1],), *norm, self._epsilon)


def _layer(weights: dict[str, torch.Tensor], at: str) -> _Layer:
    def pair(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[f"{at}{name}.weight"], weights[f"{at}{name}.bias"]

    parts = [pair(f"attention.self.{name}") for name in ("query", "key", "value")]
    return _Layer(
        qkv=_Linear.of(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])),
        out=_Linear.of(*pair("attention.output.dense")),
        norm=pair("attention.output.LayerNorm"),
        up=_Linear.of(*pair("intermediate.dense")),
        down=_Linear.of(*pair("output.dense")),
        last_norm=pair("output.LayerNorm"),
    )


def _runs(lengths: np.ndarray) -> list[tuple[int, int]]:
    """(length, how many in a row) of neighbours of equal length."""
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(starts, append=len(lengths))
    return list(zip(lengths[starts].tolist(), counts.tolist(), strict=True))

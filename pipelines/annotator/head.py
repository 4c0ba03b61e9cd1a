"""The linear head: logistic regression on frozen embeddings (paper 2.3: classification, good or random)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.annotator.config import HeadConfig
from snowcoder.base import UserError
from snowcoder.files import write_atomically

FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    weight: np.ndarray  # float32 [dimensions]
    bias: float

    def probability(self, embeddings: np.ndarray) -> np.ndarray:
        """Probability of "good" at even odds, float64 [n], of embeddings float32 [n, dimensions]."""
        logit = embeddings.astype(np.float64) @ self.weight.astype(np.float64) + self.bias
        return np.exp(-np.logaddexp(0.0, -logit))

    def save(self, directory: Path, about: dict[str, Any]) -> None:
        """Write `head.safetensors`; `about` (JSON) says what the head belongs to."""
        from safetensors.numpy import save

        tensors = {"weight": self.weight.astype(np.float32), "bias": np.array([self.bias], np.float32)}
        write_atomically(
            directory / FILE, save(tensors, metadata={"about": json.dumps(about, sort_keys=True)})
        )

    @classmethod
    def load(cls, directory: Path) -> tuple[Head, dict[str, Any]]:
        """The head and what it belongs to. Raises UserError when there is none or the file is damaged."""
        from safetensors import SafetensorError, safe_open

        path = directory / FILE
        if not path.exists():
            raise UserError(f"{path}: there is no annotator head; train the annotator first")
        try:
            with safe_open(path, "numpy") as file:
                head = cls(file.get_tensor("weight"), float(file.get_tensor("bias")[0]))
                return head, json.loads((file.metadata() or {})["about"])
        except (SafetensorError, KeyError) as error:
            raise UserError(f"{path}: damaged ({error}); delete it and train the annotator again") from error


def fit_head(embeddings: np.ndarray, good: np.ndarray, weight: np.ndarray, cfg: HeadConfig) -> Head:
    """Fit by L-BFGS in float64.

    `embeddings` float32 [n, d]; `good` bool [n]; `weight` float [n], of which each class is scaled to one
    half, so that the odds are even whatever the counts. Features are standardised for the fit; the scaling is
    folded into the weights. Raises ValueError when a class is missing.
    """
    import torch

    if not good.any() or good.all():
        raise ValueError("the head needs both good and random documents")
    share = np.where(good, weight / weight[good].sum(), weight / weight[~good].sum()) / 2
    x = torch.from_numpy(embeddings.astype(np.float64))
    y = torch.from_numpy(good.astype(np.float64))
    w = torch.from_numpy(share)
    mean = w @ x
    scale = torch.sqrt(w @ (x - mean) ** 2).clamp_min(1e-8)
    x = (x - mean) / scale
    theta = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta], max_iter=cfg.max_steps, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        log_loss = torch.nn.functional.binary_cross_entropy_with_logits(
            x @ theta[:-1] + theta[-1], y, weight=w, reduction="sum"
        )
        value = log_loss + cfg.l2 / 2 * theta[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    folded = theta.detach()[:-1] / scale
    bias = theta.detach()[-1] - folded @ mean
    return Head(folded.numpy().astype(np.float32), float(bias))

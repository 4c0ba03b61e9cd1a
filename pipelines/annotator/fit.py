"""Fitting the linear head on embeddings: L-BFGS over all examples, on one process or on workers that share them out.

The loss is convex and starts at a fixed point, so there is no seed, and any number of workers gives the same head up
to rounding: they sum their losses and gradients, and all take the same steps. Early stopping keeps the step with the
least validation loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.annotator.config import HeadConfig
from pipelines.annotator.head import Linear, Task

if TYPE_CHECKING:
    import torch

Reduce = Callable[["torch.Tensor"], "torch.Tensor"]
"""Sum over the workers, in place."""


@dataclass(frozen=True)
class Examples:
    """Windows (or documents) to learn from: embeddings float32 [n, d], target float [n, outputs] in [0, 1], weight
    float [n]."""

    embeddings: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def select(self, which: np.ndarray) -> Examples:
        return Examples(self.embeddings[which], self.target[which], self.weight[which])


@dataclass(frozen=True)
class Stopping:
    """When to look at `validation`, and for how many looks to wait for a better one."""

    validation: Examples
    every: int = 10
    patience: int = 3


@dataclass(frozen=True)
class Fit:
    linear: Linear
    steps: int
    best_step: int
    loss: float  # of the validation examples at best_step; NaN without any


def balanced(target: np.ndarray, weight: np.ndarray, task: Task) -> np.ndarray:
    """Weights that sum to 1; for a binary task each class to one half, so that the odds are even whatever the counts.

    ValueError when a class is missing.
    """
    if task == "regression":
        return weight / weight.sum()
    good = target[:, 0] > 0.5
    if not good.any() or good.all():
        raise ValueError("the head needs both good and random documents")
    return np.where(good, weight / weight[good].sum(), weight / weight[~good].sum()) / 2


def fit_head(
    examples: Examples,
    cfg: HeadConfig,
    task: Task = "binary",
    *,
    start: Linear | None = None,
    stopping: Stopping | None = None,
    reduce: Reduce = lambda tensor: tensor,
) -> Fit:
    """The minimum of the mean loss (log loss, or squared error) plus `l2` / 2 times the squared distance of the
    standardised weights from those of `start` (None: zero). Scaling is folded into the weights.

    `examples.weight` sums to 1 over all workers (`balanced`); each worker brings its part, `reduce` sums over them.
    """
    import torch

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float64))

    x, y, w = tensor(examples.embeddings), tensor(examples.target), tensor(examples.weight)
    dimensions, outputs = x.shape[1], y.shape[1]
    mean = reduce(w @ x)
    scale = torch.sqrt(reduce(w @ (x - mean) ** 2)).clamp_min(1e-8)
    x = (x - mean) / scale
    origin = torch.zeros(outputs, dimensions + 1, dtype=torch.float64)
    if start is not None:
        weight = tensor(start.weight)
        origin = torch.cat([weight * scale, (tensor(start.bias) + weight @ mean)[:, None]], 1)
    theta = origin.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=stopping.every if stopping else cfg.max_steps, line_search_fn="strong_wolfe"
    )
    regularised = cfg.l2 / 2 / float(reduce(torch.ones(())))  # each worker adds its share of it

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = _loss(x @ theta[:, :-1].T + theta[:, -1], y, w, task)
        value = value + regularised * (theta - origin)[:, :-1].square().sum()
        value.backward()
        assert theta.grad is not None
        reduce(theta.grad)
        return reduce(value.detach())

    def folded() -> Linear:
        weight = theta.detach()[:, :-1] / scale
        bias = theta.detach()[:, -1] - weight @ mean
        return Linear(weight.numpy().astype(np.float32), bias.numpy().astype(np.float32))

    if stopping is None:
        optimizer.step(loss)
        steps = optimizer.state[theta]["n_iter"]
        return Fit(folded(), steps, steps, float("nan"))
    held = stopping.validation
    xv, yv, wv = (tensor(held.embeddings) - mean) / scale, tensor(held.target), tensor(held.weight)
    best, best_loss, best_step, waited, steps = folded(), float("inf"), 0, 0, 0
    while steps < cfg.max_steps and waited < stopping.patience:
        optimizer.step(loss)
        reached = optimizer.state[theta]["n_iter"]
        with torch.no_grad():
            found = float(reduce(_loss(xv @ theta[:, :-1].T + theta[:, -1], yv, wv, task)))
        waited += 1
        if found < best_loss:
            best, best_loss, best_step, waited = folded(), found, reached, 0
        if reached == steps or reached % stopping.every:  # converged: fewer steps than were allowed
            steps = reached
            break
        steps = reached
    return Fit(best, steps, best_step, best_loss)


def _loss(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, task: Task) -> torch.Tensor:
    import torch

    if task == "regression":
        each = (value - target).square()
    else:
        each = torch.nn.functional.binary_cross_entropy_with_logits(value, target, reduction="none")
    return (each * weight[:, None]).sum()

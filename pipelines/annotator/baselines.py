"""What an annotator has to beat: the length of a document, and the tokens in it without their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mmh3
import numpy as np

from pipelines.annotator.roc import roc_auc

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|[^\w\s]")
_MAX_CHARACTERS = 20_000  # of a document: what an encoder of three 512-token windows sees at most, thrice


@dataclass(frozen=True)
class Length:
    """Log bytes, in the direction that tells the training documents apart better."""

    sign: float

    @classmethod
    def fit(cls, size: np.ndarray, good: np.ndarray) -> Length:
        return cls(1.0 if roc_auc(size, good) >= 0.5 else -1.0)

    def score(self, size: np.ndarray) -> np.ndarray:
        return self.sign * np.log(np.maximum(size, 1).astype(np.float64))


@dataclass(frozen=True)
class BagOfTokens:
    """Logistic regression on hashed counts of words, numbers and signs, log(1 + count), rows of unit length."""

    weight: np.ndarray  # float64 [2 ** bits]
    bias: float
    bits: int

    @classmethod
    def fit(
        cls, texts: Sequence[str], good: np.ndarray, weight: np.ndarray, bits: int, l2: float = 1e-4
    ) -> BagOfTokens:
        """`weight` sums to 1, each class to one half (`fit.balanced`). Minimises log loss + l2 / 2 |w|² by L-BFGS."""
        import torch

        x, y, w = _matrix(texts, bits), torch.from_numpy(good.astype(np.float64)), torch.from_numpy(weight)
        theta = torch.zeros((1 << bits) + 1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            logit = (x @ theta[:-1, None])[:, 0] + theta[-1]
            value = torch.nn.functional.binary_cross_entropy_with_logits(logit, y, weight=w, reduction="sum")
            value = value + l2 / 2 * theta[:-1].square().sum()
            value.backward()
            return value

        with _one_thread():
            optimizer.step(loss)
        found = theta.detach().numpy()
        return cls(found[:-1].copy(), float(found[-1]), bits)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log odds, float64 [n]."""
        import torch

        if not len(texts):
            return np.zeros(0)
        with _one_thread():
            product = _matrix(texts, self.bits) @ torch.from_numpy(self.weight)[:, None]
        return product[:, 0].numpy() + self.bias


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hundreds of small sparse products: on a busy machine torch's threads mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _matrix(texts: Sequence[str], bits: int):
    """Sparse [documents, 2 ** bits]."""
    import torch

    rows, columns, values = [], [], []
    known: dict[str, int] = {}
    for row, text in enumerate(texts):
        tokens = _TOKEN.findall(text[:_MAX_CHARACTERS])
        for token in tokens:
            if token not in known:
                known[token] = mmh3.hash(token, signed=False) & ((1 << bits) - 1)
        places, counts = np.unique([known[token] for token in tokens], return_counts=True)
        value = np.log1p(counts)
        rows.append(np.full(len(places), row))
        columns.append(places.astype(np.int64))
        values.append(value / (np.sqrt(value @ value) or 1.0))
    indices = np.stack([np.concatenate(rows), np.concatenate(columns)]).astype(np.int64)
    shape = (len(texts), 1 << bits)
    return torch.sparse_coo_tensor(
        torch.from_numpy(indices), torch.from_numpy(np.concatenate(values)), shape, check_invariants=True
    ).coalesce()

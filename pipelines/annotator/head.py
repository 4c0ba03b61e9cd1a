"""The linear head on embeddings (paper 2.3: classification, good or random; ANN-EDU: regression)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from snowcoder.base import UserError
from snowcoder.files import write_atomically

FILE = "head.safetensors"
Task = Literal["binary", "regression"]


@dataclass(frozen=True)
class Linear:
    """`embeddings @ weight.T + bias`, float64 [n, outputs]."""

    weight: np.ndarray  # float32 [outputs, dimensions]
    bias: np.ndarray  # float32 [outputs]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        return embeddings.astype(np.float64) @ self.weight.astype(np.float64).T + self.bias

    def scaled(self, factor: float) -> Linear:
        return Linear(self.weight * np.float32(factor), self.bias * np.float32(factor))


@dataclass(frozen=True)
class Head:
    """A shared linear map, and one for each language that has its own. Calibration is folded into them."""

    linear: Linear
    task: Task = "binary"
    languages: dict[str, Linear] = field(default_factory=dict)

    @property
    def by_language(self) -> bool:
        """Whether scores depend on the document's language."""
        return bool(self.languages)

    def outputs(
        self, embeddings: np.ndarray, lang: Sequence[str | None] | np.ndarray | None = None
    ) -> np.ndarray:
        """Values in [0, 1], float64 [n, outputs], of embeddings float32 [n, dimensions]: the probability of
        "good" at even odds, or a label's place in its range. A language without a head of its own, or no `lang`,
        has the shared one.
        """
        values = self.linear(embeddings)
        if lang is not None and self.languages:
            names = np.asarray(lang, object)
            for name, linear in self.languages.items():
                own = names == name
                if own.any():
                    values[own] = linear(embeddings[own])
        if self.task == "regression":
            return np.clip(values, 0.0, 1.0)
        return np.exp(-np.logaddexp(0.0, -values))

    def score(
        self, embeddings: np.ndarray, lang: Sequence[str | None] | np.ndarray | None = None
    ) -> np.ndarray:
        """Mean over the outputs, float64 [n] in [0, 1]: what documents are ranked by."""
        return self.outputs(embeddings, lang).mean(1)

    def probability(self, embeddings: np.ndarray) -> np.ndarray:
        """The score where no language is known, float64 [n]."""
        return self.score(embeddings)

    def save(self, directory: Path, about: dict[str, Any]) -> None:
        """Write `head.safetensors`; `about` (JSON) says what the head belongs to."""
        from safetensors.numpy import save

        tensors = {"weight": self.linear.weight, "bias": self.linear.bias}
        if self.languages:
            tensors["language_weight"] = np.stack([own.weight for own in self.languages.values()])
            tensors["language_bias"] = np.stack([own.bias for own in self.languages.values()])
        tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
        metadata = {
            "about": json.dumps(about, sort_keys=True),
            "task": self.task,
            "languages": json.dumps(list(self.languages)),
        }
        write_atomically(directory / FILE, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, directory: Path) -> tuple[Head, dict[str, Any]]:
        """The head and what it belongs to. Raises UserError when there is none or the file is damaged."""
        from safetensors import SafetensorError, safe_open

        path = directory / FILE
        if not path.exists():
            raise UserError(f"{path}: there is no annotator head; train the annotator first")
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                names = json.loads(metadata["languages"])
                own = {}
                if names:
                    weights, biases = file.get_tensor("language_weight"), file.get_tensor("language_bias")
                    own = {name: Linear(weights[i], biases[i]) for i, name in enumerate(names)}
                shared = Linear(file.get_tensor("weight"), file.get_tensor("bias"))
                task: Task = "regression" if metadata["task"] == "regression" else "binary"
                return cls(shared, task, own), json.loads(metadata["about"])
        except (SafetensorError, KeyError) as error:
            raise UserError(f"{path}: damaged ({error}); delete it and train the annotator again") from error

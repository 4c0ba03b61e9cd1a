"""Scoring documents with a trained annotator."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.encoder import Encoder, encoder_fingerprint
from pipelines.annotator.head import FILE, Head
from pipelines.schema import stable_hash
from snowcoder.base import UserError

SCORE_VERSION = 1
"""Changes when windows, pooling or averaging change: old scores are then not replayed."""

_DOCUMENTS = 1024  # embedded at a time, which bounds memory


class Scorer:
    """A trained annotator, loaded once per process. Raises UserError for a head of other settings."""

    def __init__(self, cfg: AnnotatorConfig, head_dir: Path):
        self._head, about = Head.load(head_dir)
        mine = identity(cfg)
        for name in mine:
            if about.get(name) != mine[name]:
                raise UserError(
                    f"{head_dir / FILE}: trained with {name} {about.get(name)!r}, but the configuration says "
                    f"{mine[name]!r}; train the annotator again"
                )
        self._encoder = Encoder(cfg.encoder)
        self._config, self._directory = cfg, head_dir

    def score(
        self, text: pa.Array | pa.ChunkedArray, lang: pa.Array | pa.ChunkedArray | None = None
    ) -> np.ndarray:
        """Mean score of each document's windows, float32 [n] in [0, 1]; NaN for a null.

        `lang` chooses the head where languages have their own; without it all documents have the shared one.
        """
        scores = np.empty(len(text), np.float32)
        names = None if lang is None or not self._head.by_language else np.array(lang.to_pylist(), object)
        for start in range(0, len(text), _DOCUMENTS):
            windows = self._encoder.windows(text.slice(start, _DOCUMENTS))
            own = None if names is None else names[start + windows.document]
            scores[start : start + _DOCUMENTS] = windows.mean(
                self._head.score(self._encoder.embed(windows), own)
            )
        return scores

    @cached_property
    def fingerprint(self) -> str:
        return scorer_fingerprint(self._config, self._directory)


def scorer_fingerprint(cfg: AnnotatorConfig, head_dir: Path) -> str:
    """Names everything that scores depend on, for the ledger key, without loading the model.

    Device, batch size and threads are left out: they move a score by rounding alone, and a recorded score is
    replayed as it is. The dtype counts as configured, so that a driver without a GPU names what its workers
    use.
    """
    head = f"{mmh3.hash128((head_dir / FILE).read_bytes(), signed=False):032x}"
    return stable_hash([SCORE_VERSION, identity(cfg), cfg.encoder.dtype, head])


def identity(cfg: AnnotatorConfig) -> dict[str, Any]:
    """What a head belongs to: kept beside its weights, and checked before it scores anything."""
    encoder = cfg.encoder
    return {
        "encoder": encoder_fingerprint(encoder.path),
        "pooling": encoder.pooling,
        "window_tokens": encoder.window_tokens,
        "bytes_per_token": encoder.bytes_per_token,
    }

"""How good an annotator is on documents that it never saw, beside what is known without it: length, a bag of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.baselines import BagOfTokens, Length
from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.fit import balanced
from pipelines.annotator.matched import Scorers
from pipelines.annotator.quality import BAG, LENGTH, Estimate, HeldOut
from pipelines.annotator.roc import auc_at_like_size, auc_interval, roc_auc, spearman

_LIKE_SIZE_SAMPLE = 2000  # of each class: 4 million pairs


@dataclass(frozen=True)
class Documents:
    """What is learnt from. `held_out` is never seen; `validation` decides when to stop, and calibrates."""

    text: pa.ChunkedArray
    lang: np.ndarray  # object [n]
    group: np.ndarray  # int64 [n]
    target: np.ndarray  # float64 [n, outputs] in [0, 1]
    good: np.ndarray  # bool [n]: binary, or on the upper side of the labels
    held_out: np.ndarray  # bool [n]
    validation: np.ndarray  # bool [n]

    @cached_property
    def training(self) -> np.ndarray:
        return ~(self.held_out | self.validation)

    @cached_property
    def size(self) -> np.ndarray:
        return pc.binary_length(self.text).to_numpy()


class Baselines:
    """Length and bag of tokens, fitted on the training documents; no bag where these are of one class."""

    def __init__(self, documents: Documents, cfg: AnnotatorConfig):
        used = ~documents.held_out
        good = documents.good[used]
        self.length = Length.fit(documents.size[used], good)
        self.bag: BagOfTokens | None = None
        if good.any() and not good.all():
            texts = documents.text.filter(pa.array(used)).to_pylist()
            weight = balanced(good[:, None].astype(np.float64), np.ones(len(good)), "binary")
            self.bag = BagOfTokens.fit(texts, good, weight, cfg.quality.bag_bits)

    def scorers(self) -> Scorers:
        found: Scorers = {LENGTH: lambda table: self.length.score(pc.binary_length(table["text"]).to_numpy())}
        if self.bag is not None:
            bag = self.bag
            found[BAG] = lambda table: bag.score(table["text"].to_pylist())
        return found


def held_out(
    documents: Documents,
    outputs: np.ndarray,
    baselines: Baselines,
    cfg: AnnotatorConfig,
    log_losses: tuple[float, float] | None,
    errors: tuple[float, float] | None,
) -> HeldOut:
    """Quality on the held-out documents. `outputs` float [n, outputs] of all documents; `log_losses` and `errors`
    are of before and after calibration."""
    held = documents.held_out
    score, good, group, size = (
        outputs.mean(1)[held],
        documents.good[held],
        documents.group[held],
        documents.size[held],
    )
    both = bool(good.any() and not good.all())
    few = _few_of_each(good, cfg.seed)
    like = auc_at_like_size(score[few], good[few], size[few]) if both else float("nan")
    auc = None
    if both:
        low, high = auc_interval(score, good, group, cfg.bootstrap, cfg.seed)
        auc = Estimate(value=roc_auc(score, good), low=low, high=high)
    bag = None
    if both and baselines.bag is not None:
        bag = roc_auc(baselines.bag.score(documents.text.filter(pa.array(held)).to_pylist()), good)
    extra: dict[str, Any] = {}
    if cfg.task == "regression":
        low, high = cfg.label_range
        target = documents.target[held]
        extra["rmse"] = float(np.sqrt(np.mean((outputs[held] - target) ** 2)) * (high - low))
        extra["outputs"] = {
            name: found
            for i, name in enumerate(cfg.outputs)
            if not np.isnan(found := spearman(outputs[held][:, i], target[:, i]))
        }
        extra["spearman"] = _spearman_interval(score, target.mean(1), group, cfg)
    return HeldOut(
        auc=auc,
        length_auc=roc_auc(baselines.length.score(size), good) if both else None,
        like_size_auc=None if np.isnan(like) else like,
        bag_auc=bag,
        documents=len(good),
        positives=int(good.sum()),
        negatives=int((~good).sum()),
        groups=len(np.unique(group)),
        log_loss=log_losses,
        calibration_error=errors,
        **extra,
    )


def _spearman_interval(
    score: np.ndarray, label: np.ndarray, group: np.ndarray, cfg: AnnotatorConfig
) -> Estimate | None:
    """With a 95 % percentile interval by resampling groups; None where scores or labels do not vary."""
    value = spearman(score, label)
    if np.isnan(value):
        return None
    rng = np.random.default_rng(cfg.seed)
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    drawn = []
    for _ in range(cfg.bootstrap):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        drawn.append(spearman(score[rows], label[rows]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high))


def _few_of_each(good: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pools = (np.flatnonzero(good), np.flatnonzero(~good))
    return np.concatenate([rng.permutation(pool)[:_LIKE_SIZE_SAMPLE] for pool in pools])

"""Training an annotator: windows -> embeddings -> heads, and its quality on documents and repositories it never saw."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.annotator.calibration import calibration_error, log_loss, temperature
from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.encoder import Encoder
from pipelines.annotator.fit import Examples, balanced
from pipelines.annotator.head import Head
from pipelines.annotator.held_out import Baselines, Documents, held_out
from pipelines.annotator.matched import Scorers, compare
from pipelines.annotator.quality import FILE, AnnotatorMetrics, Comparison
from pipelines.annotator.score import identity
from pipelines.annotator.splits import hashed, sample_negatives, split
from pipelines.annotator.windows import Windows
from pipelines.annotator.workers import Fitted, Part, Problem, fit
from snowcoder.files import write_atomically

ENCODER = "encoder"
"""Folder of a fine-tuned encoder beside its head."""
_WORK = "work"
_FEW = 0.05  # of the labels on one side: the middle of the scale divides nothing


@dataclass(frozen=True)
class Measure:
    """What quality is measured on beside held-out documents."""

    solutions: pa.Table  # of schema `matched.SOLUTION`
    unseen: pa.Table  # `text`, `lang`, `group`: files of repositories that training never sees


def train_annotator(
    positives: pa.Table,
    negatives: pa.Table,
    cfg: AnnotatorConfig,
    out_dir: Path,
    *,
    unseen: frozenset[str] | None = None,
    measure: Measure | None = None,
    about: dict[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> AnnotatorMetrics:
    """Train a binary annotator on `positives` against a sample of `negatives`; write `head.safetensors` and
    `metrics.json`.

    Both tables have `text`, `group` and `lang`. Nobody checks here for benchmarks: positives come clean from
    `load_positives`, negatives from the kept corpus. `unseen`: groups of negatives that are held out; None: a share
    of them. `about`: more fields of the metrics. `labels`: of the nodes whose workers
    fit the heads. The head that is measured is the head that is kept. Raises UserError
    when a class has fewer than two groups, or no negative is in a positive's language.
    """
    good_held = split(hashed(positives["group"].to_pylist(), cfg.seed), cfg.held_out, "positives")
    if unseen is None:
        negatives = sample_negatives(positives, negatives, cfg)
        other_held = split(hashed(negatives["group"].to_pylist(), cfg.seed), cfg.held_out, "negatives")
    else:
        apart = np.isin(np.array(negatives["group"].to_pylist(), object), list(unseen))
        sides = [
            sample_negatives(positives.filter(pa.array(p)), negatives.filter(pa.array(n)), cfg)
            for p, n in ((~good_held, ~apart), (good_held, apart))
        ]
        negatives = pa.concat_tables(sides)
        other_held = np.arange(len(negatives)) >= len(sides[0])
    table = pa.concat_tables([t.select(_TRAINING.names).cast(_TRAINING) for t in (positives, negatives)])
    good = np.arange(len(table)) < len(positives)
    documents = _documents(
        table, good[:, None].astype(np.float64), good, np.concatenate([good_held, other_held]), cfg
    )
    return _train(documents, cfg, out_dir, measure, about or {}, labels)


def train_regression(
    labelled: pa.Table,
    target: np.ndarray,
    cfg: AnnotatorConfig,
    out_dir: Path,
    *,
    unseen: frozenset[str] | None = None,
    measure: Measure | None = None,
    about: dict[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> AnnotatorMetrics:
    """Train a regression on documents (`text`, `group`, `lang`) and their labels `target`, float [n, outputs] in
    [0, 1]; the rest as `train_annotator`. "Good" is a mean label of the middle of the scale or more; where that
    leaves fewer than one in twenty on a side, one above the median."""
    mean = target.mean(1)
    good = mean >= 0.5
    if not _FEW <= good.mean() <= 1 - _FEW:
        good = mean > np.median(mean)
    group = labelled["group"].to_pylist()
    if unseen is None:
        held_out = split(hashed(group, cfg.seed), cfg.held_out, "labelled documents")
    else:
        held_out = np.isin(np.array(group, object), list(unseen))
    table = labelled.select(_TRAINING.names).cast(_TRAINING)
    return _train(_documents(table, target, good, held_out, cfg), cfg, out_dir, measure, about or {}, labels)


_TRAINING = pa.schema([("text", pa.large_string()), ("lang", pa.string()), ("group", pa.string())])


def _documents(
    table: pa.Table, target: np.ndarray, good: np.ndarray, held_out: np.ndarray, cfg: AnnotatorConfig
) -> Documents:
    group = hashed(table["group"].to_pylist(), cfg.seed)
    validation = np.zeros(len(table), bool)
    for side in (good, ~good) if cfg.task == "binary" else (np.ones_like(good),):
        side = side & ~held_out
        # Three groups, or training would be left with one.
        if cfg.training.validation and len(np.unique(group[side])) > 2:
            validation[side] = split(group[side], cfg.training.validation)
    if cfg.task == "binary" and not (validation & good).any() * (validation & ~good).any():
        validation[:] = False
    lang = np.array(table["lang"].to_pylist(), object)
    return Documents(table["text"], lang, group, target, good, held_out, validation)


def _train(
    documents: Documents,
    cfg: AnnotatorConfig,
    out_dir: Path,
    measure: Measure | None,
    about: dict[str, Any],
    labels: Mapping[str, str] | None,
) -> AnnotatorMetrics:
    work = (out_dir / _WORK).resolve()
    shutil.rmtree(work, ignore_errors=True)
    encoder = Encoder(cfg.encoder)
    start = time.perf_counter()
    windows = encoder.windows(documents.text)
    embeddings = encoder.embed(windows)
    embed_seconds = time.perf_counter() - start

    start = time.perf_counter()
    found = _fit(documents, windows, embeddings, cfg, work, labels)
    if cfg.training.finetune.enabled:
        from pipelines.annotator.finetune import finetune

        directory = finetune(documents, windows, found.head, cfg, work, out_dir / ENCODER, labels)
        cfg = with_encoder(cfg, out_dir)
        assert str(directory) == cfg.encoder.path
        encoder = Encoder(cfg.encoder)
        embeddings = encoder.embed(windows)
        found = _fit(documents, windows, embeddings, cfg, work, labels)
    head, heat, log_losses, errors = _calibrated(found.head, documents, windows, embeddings)
    train_seconds = time.perf_counter() - start
    head.save(out_dir, identity(cfg))
    shutil.rmtree(work, ignore_errors=True)

    outputs = _by_document(windows, head.outputs(embeddings, documents.lang[windows.document]))
    baselines = Baselines(documents, cfg)
    quality: tuple[Comparison, ...] = ()
    if measure is not None:
        scorers: Scorers = {cfg.name: lambda table: _score(encoder, head, table), **baselines.scorers()}
        quality = compare(measure.solutions, measure.unseen, scorers, cfg.quality, cfg.seed)
    metrics = AnnotatorMetrics.model_validate(
        {
            "annotator": cfg.name,
            "recipe": cfg.recipe,
            "task": cfg.task,
            "outputs": cfg.outputs,
            "encoder": cfg.encoder.path,
            "finetuned": cfg.training.finetune.enabled,
            "window_tokens": cfg.encoder.window_tokens,
            "key": "",
            "noise": False,
            "seed": cfg.seed,
            "workers": cfg.training.workers,
            "steps": found.steps,
            "best_step": found.best_step,
            "train_positive": int((documents.good & ~documents.held_out).sum()),
            "train_negative": int((~documents.good & ~documents.held_out).sum()),
            "languages": _languages(documents),
            "temperature": heat,
            "per_language": tuple(head.languages),
            "windows": len(windows),
            "embed_seconds": round(embed_seconds, 3),
            "train_seconds": round(train_seconds, 3),
            "documents_per_second": round(len(documents.text) / embed_seconds, 2),
            "held_out": held_out(documents, outputs, baselines, cfg, log_losses, errors),
            "quality": quality,
            **about,
        }
    )
    write_atomically(out_dir / FILE, metrics.model_dump_json(indent=1).encode())
    return metrics


def with_encoder(cfg: AnnotatorConfig, directory: Path) -> AnnotatorConfig:
    """The settings that the annotator in `directory` scores with: its own encoder, where it fine-tuned one."""
    if not cfg.training.finetune.enabled:
        return cfg
    return cfg.model_copy(
        update={"encoder": cfg.encoder.model_copy(update={"path": str((directory / ENCODER).resolve())})}
    )


def _fit(
    documents: Documents,
    windows: Windows,
    embeddings: np.ndarray,
    cfg: AnnotatorConfig,
    work: Path,
    labels: Mapping[str, str] | None,
) -> Fitted:
    """Every window is an example with its document's label; a document weighs 1, whatever its windows."""
    names = _own_heads(documents, cfg)
    code = {name: place for place, name in enumerate(names)}
    own = np.array([code.get(name, -1) for name in documents.lang], np.int32)

    def part(which: np.ndarray) -> Part:
        weight, own_weight = np.zeros(len(which)), np.zeros(len(which))
        if which.any():
            weight[which] = balanced(documents.target[which], np.ones(which.sum()), cfg.task)
        for place in range(len(names)):
            mine = which & (own == place)
            classes = len(np.unique(documents.good[mine]))
            if mine.any() and (classes == 2 or cfg.task == "regression"):
                own_weight[mine] = balanced(documents.target[mine], np.ones(mine.sum()), cfg.task)
        used = which[windows.document]
        at = windows.document[used]
        counts = windows.counts()[at]
        examples = Examples(embeddings[used], documents.target[at], weight[at] / counts)
        return Part(examples, own[at], own_weight[at] / counts)

    problem = Problem(cfg.task, names, part(documents.training), part(documents.validation))
    return fit(problem, cfg.head, cfg.training, work, labels)


def _own_heads(documents: Documents, cfg: AnnotatorConfig) -> tuple[str, ...]:
    """Languages with enough training documents, binary: of either class."""
    if not cfg.head.per_language:
        return ()
    names = []
    for name in sorted(set(documents.lang) - {""}):
        good = documents.good[documents.training & (documents.lang == name)]
        fewest = len(good) if cfg.task == "regression" else min(good.sum(), (~good).sum())
        if fewest >= cfg.head.language_documents:
            names.append(name)
    return tuple(names)


def _calibrated(
    head: Head, documents: Documents, windows: Windows, embeddings: np.ndarray
) -> tuple[Head, float | None, tuple[float, float] | None, tuple[float, float] | None]:
    """(head, temperature, log loss and calibration error of the held-out documents, before and after)."""
    if head.task != "binary" or not documents.validation.any():
        return head, None, None, None
    lang = documents.lang[windows.document]

    def cooled(t: float) -> Head:
        own = {name: linear.scaled(1 / t) for name, linear in head.languages.items()}
        return Head(head.linear.scaled(1 / t), head.task, own)

    def probability(t: float) -> np.ndarray:
        return windows.mean(cooled(t).score(embeddings, lang))

    target = documents.good[:, None].astype(np.float64)

    def weights(which: np.ndarray) -> np.ndarray:
        return balanced(target[which], np.ones(which.sum()), "binary")

    check, test = documents.validation, documents.held_out
    heat = temperature(lambda t: probability(t)[check], documents.good[check], weights(check))
    after = cooled(heat)
    pairs = [
        tuple(f(probability(t)[test], documents.good[test], weights(test)) for t in (1.0, heat))
        for f in (log_loss, calibration_error)
    ]
    return after, heat, pairs[0], pairs[1]  # type: ignore[return-value]


def _by_document(windows: Windows, values: np.ndarray) -> np.ndarray:
    return np.stack([windows.mean(values[:, i]) for i in range(values.shape[1])], axis=1)


def _score(encoder: Encoder, head: Head, table: pa.Table) -> np.ndarray:
    windows = encoder.windows(table["text"])
    lang = np.array(table["lang"].to_pylist(), object)
    return windows.mean(head.score(encoder.embed(windows), lang[windows.document]))


def _languages(documents: Documents) -> dict[str, tuple[int, int]]:
    return {
        name: (
            int((documents.good & (documents.lang == name)).sum()),
            int((~documents.good & (documents.lang == name)).sum()),
        )
        for name in sorted(set(documents.lang))
    }

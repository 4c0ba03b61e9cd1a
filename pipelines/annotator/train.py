"""Training the annotator: windows -> embeddings -> linear head, and its ROC-AUC on groups it never saw."""

from __future__ import annotations

import time
from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.encoder import Encoder
from pipelines.annotator.head import Head, fit_head
from pipelines.annotator.positives import text_hash
from pipelines.annotator.roc import auc_at_like_size, auc_interval, roc_auc
from pipelines.annotator.score import identity
from pipelines.annotator.windows import Windows
from snowcoder.base import Config, UserError
from snowcoder.files import write_atomically

_LIKE_SIZE_SAMPLE = 2000  # of each class: 4 million pairs


class AnnotatorReport(Config):
    """What `metrics.json` holds. AUC figures are of held-out documents; "length" is log bytes alone."""

    annotator: str
    auc: float
    ci: tuple[float, float]  # 95 %, resampling groups
    n_positive: int  # held out
    n_negative: int
    groups_positive: int  # held out
    groups_negative: int
    length_auc: float  # shorter or longer, whichever the training documents say is better
    like_size_auc: float | None  # over pairs whose sizes differ by less than 2 x; None: no such pair
    train_positive: int
    train_negative: int
    languages: dict[str, tuple[int, int]]  # positives, negatives used
    encoder: str
    window_tokens: int
    windows: int
    embed_seconds: float
    documents_per_second: float

    def line(self) -> str:
        low, high = self.ci
        return (
            f"{self.annotator}: held-out ROC-AUC {self.auc:.3f} (95 % interval {low:.3f} to {high:.3f}; "
            f"{self.n_positive} positives of {self.groups_positive} groups, {self.n_negative} negatives of "
            f"{self.groups_negative}); length alone {self.length_auc:.3f}"
        )


def train_annotator(
    positives: pa.Table, negatives: pa.Table, cfg: AnnotatorConfig, out_dir: Path
) -> AnnotatorReport:
    """Train on `positives` against a sample of `negatives`; write `head.safetensors` and `metrics.json`.

    Both tables have `text`, `group` and `lang`. Nobody checks here for benchmarks: positives come clean from
    `load_positives`, negatives from the kept corpus. The head that is measured is the head that is kept: it
    never sees the held-out documents. Raises UserError when a class has fewer than two groups, or no negative
    is in a positive's language.
    """
    columns = ["text", "lang", "group"]
    negatives = sample_negatives(positives, negatives, cfg)
    documents = pa.concat_tables(
        [table.select(columns).cast(_TRAINING) for table in (positives, negatives)]
    ).combine_chunks()
    good = np.arange(len(documents)) < len(positives)
    group = np.array([mmh3.hash(name, cfg.seed) for name in documents["group"].to_pylist()], np.int64)
    held_out = np.zeros(len(documents), bool)
    for label, kind in ((good, "positives"), (~good, "negatives")):
        held_out[label] = split(group[label], cfg.held_out, kind)

    encoder = Encoder(cfg.encoder)
    start = time.perf_counter()
    windows = encoder.windows(documents["text"])
    embeddings = encoder.embed(windows)
    seconds = time.perf_counter() - start
    head = _fit(embeddings, windows, good, ~held_out, cfg)
    head.save(out_dir, identity(cfg))

    score = windows.mean(head.probability(embeddings))
    size = pc.binary_length(documents["text"]).to_numpy()
    test_score, test_good, test_group = score[held_out], good[held_out], group[held_out]
    few = _few_of_each(test_good, cfg.seed)
    like = auc_at_like_size(test_score[few], test_good[few], size[held_out][few])
    shorter_is_better = roc_auc(-size[~held_out], good[~held_out]) > 0.5
    report = AnnotatorReport(
        annotator=cfg.name,
        auc=roc_auc(test_score, test_good),
        ci=auc_interval(test_score, test_good, test_group, cfg.bootstrap, cfg.seed),
        n_positive=int(test_good.sum()),
        n_negative=int((~test_good).sum()),
        groups_positive=len(np.unique(test_group[test_good])),
        groups_negative=len(np.unique(test_group[~test_good])),
        length_auc=roc_auc(size[held_out] * (-1 if shorter_is_better else 1), test_good),
        like_size_auc=None if np.isnan(like) else like,
        train_positive=int((good & ~held_out).sum()),
        train_negative=int((~good & ~held_out).sum()),
        languages=_languages(documents["lang"], good),
        encoder=cfg.encoder.path,
        window_tokens=cfg.encoder.window_tokens,
        windows=len(windows),
        embed_seconds=round(seconds, 3),
        documents_per_second=round(len(documents) / seconds, 2),
    )
    write_atomically(out_dir / "metrics.json", report.model_dump_json(indent=1).encode())
    return report


def sample_negatives(positives: pa.Table, negatives: pa.Table, cfg: AnnotatorConfig) -> pa.Table:
    """A seeded sample of `negatives` that are not also positives, in the positives' language mix if asked.

    Takes what there is when a language has too few. Raises UserError when nothing is left.
    """
    known = {text_hash(text) for text in positives["text"].to_pylist()}
    fresh = np.array([text_hash(text) not in known for text in negatives["text"].to_pylist()], bool)
    wanted: dict[str | None, int] = {None: round(cfg.negatives_per_positive * len(positives))}
    lang = np.array(negatives["lang"].to_pylist(), object)
    if cfg.negatives_match_language:
        counts = pc.value_counts(positives["lang"].combine_chunks()).to_pylist()
        wanted = {c["values"]: round(cfg.negatives_per_positive * c["counts"]) for c in counts}
    rng = np.random.default_rng(cfg.seed)
    chosen = []
    for name, count in sorted(wanted.items(), key=lambda item: item[0] or ""):
        pool = np.flatnonzero(fresh & (lang == name) if name is not None else fresh)
        chosen.append(rng.permutation(pool)[:count])
    rows = np.sort(np.concatenate(chosen))
    if not len(rows):
        raise UserError(
            f"annotator: none of {len(negatives)} kept documents can be a negative for positives in "
            f"{sorted(set(positives['lang'].to_pylist()))}; keep such documents, or set "
            "negatives_match_language: false"
        )
    return negatives.take(pa.array(rows))


def split(group: np.ndarray, share: float, kind: str = "documents") -> np.ndarray:
    """Which documents are held out, bool [n]: whole groups, in hash order, until `share` of them is reached.

    A group that would hold out more than twice the share stays in training, unless there is no other way.
    Raises UserError when there are fewer than two groups.
    """
    names, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UserError(
            f"annotator: the {kind} are of one group; a held-out split needs two packages or folders"
        )
    out = np.zeros(len(names), bool)
    for place in range(len(names)):  # hashes are in order, and a hash's order is random
        if counts[out].sum() >= share * len(group):
            break
        out[place] = counts[out].sum() + counts[place] <= 2 * share * len(group)
    if not out.any():
        out[np.argmin(counts)] = True
    return out[member]


_TRAINING = pa.schema([("text", pa.large_string()), ("lang", pa.string()), ("group", pa.string())])


def _fit(
    embeddings: np.ndarray, windows: Windows, good: np.ndarray, training: np.ndarray, cfg: AnnotatorConfig
) -> Head:
    """Every window is an example with its document's label; a document weighs 1, whatever its windows."""
    used = training[windows.document]
    weight = 1.0 / windows.counts()[windows.document]
    return fit_head(embeddings[used], good[windows.document][used], weight[used], cfg.head)


def _few_of_each(good: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pools = (np.flatnonzero(good), np.flatnonzero(~good))
    return np.concatenate([rng.permutation(pool)[:_LIKE_SIZE_SAMPLE] for pool in pools])


def _languages(lang: pa.ChunkedArray, good: np.ndarray) -> dict[str, tuple[int, int]]:
    names = np.array(lang.to_pylist(), object)
    return {name: (int((good & (names == name)).sum()), int((~good & (names == name)).sum()))
            for name in sorted(set(names))}  # fmt: skip

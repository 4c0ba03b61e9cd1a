"""What an annotator learns from, and what it must never see: negatives by language, and splits by whole groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.positives import text_hash
from snowcoder.base import UserError


def wanted_by_language(
    positives: pa.ChunkedArray, cfg: AnnotatorConfig, times: float = 1.0
) -> dict[str | None, int]:
    """Negatives to draw by language (None: of any), `times` as many as asked for, for the positives' languages."""
    share = times * cfg.negatives_per_positive
    if not cfg.negatives_match_language:
        return {None: round(share * len(positives))}
    counts = pc.value_counts(positives.combine_chunks()).to_pylist()
    return {c["values"]: round(share * c["counts"]) for c in counts}


def sample_negatives(positives: pa.Table, negatives: pa.Table, cfg: AnnotatorConfig) -> pa.Table:
    """A seeded sample of `negatives` that are not also positives, in the positives' language mix if asked.

    Takes what there is when a language has too few. Raises UserError when nothing is left.
    """
    known = {text_hash(text) for text in positives["text"].to_pylist()}
    fresh = np.array([text_hash(text) not in known for text in negatives["text"].to_pylist()], bool)
    rows = draw(negatives["lang"].to_pylist(), wanted_by_language(positives["lang"], cfg), fresh, cfg.seed)
    if not len(rows):
        raise UserError(
            f"annotator: none of {len(negatives)} kept documents can be a negative for positives in "
            f"{sorted(set(positives['lang'].to_pylist()))}; keep such documents, or set "
            "negatives_match_language: false"
        )
    return negatives.take(pa.array(rows))


def draw(lang: Sequence[str], wanted: dict[str | None, int], allowed: np.ndarray, seed: int) -> np.ndarray:
    """Ascending rows: for each language (None: any) a seeded sample of those `allowed`, at most as many as wanted."""
    names = np.array(lang, object)
    rng = np.random.default_rng(seed)
    chosen = [np.zeros(0, np.int64)]
    for name, count in sorted(wanted.items(), key=lambda item: item[0] or ""):
        pool = np.flatnonzero(allowed & (names == name) if name is not None else allowed)
        chosen.append(rng.permutation(pool)[:count])
    return np.sort(np.concatenate(chosen))


def hashed(groups: Sequence[str], seed: int) -> np.ndarray:
    """Names of groups as int64 whose order is random, but the same in every run of this seed."""
    return np.array([mmh3.hash64(name, seed)[0] for name in groups], np.int64)


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


def unseen_repositories(repo: Sequence[str], lang: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Repositories that no annotator of a run trains on: in each language those that `split` holds out.

    A repository counts for the language of most of its files. So each language with two or more repositories has
    unseen files, and all recipes of a run with the same seed and share have the same ones.
    """
    files: dict[str, Counter[str]] = {}
    for name, language in zip(repo, lang, strict=True):
        files.setdefault(name, Counter())[language] += 1
    by_language: dict[str, list[str]] = {}
    for name, counts in sorted(files.items()):
        by_language.setdefault(counts.most_common(1)[0][0], []).append(name)
    unseen: set[str] = set()
    for names in by_language.values():
        if len(names) < 2:
            continue
        sizes = [files[name].total() for name in names]
        held = split(np.repeat(hashed(names, seed), sizes), share)[np.cumsum([0, *sizes[:-1]])]
        unseen.update(name for name, out in zip(names, held, strict=True) if out)
    return frozenset(unseen)

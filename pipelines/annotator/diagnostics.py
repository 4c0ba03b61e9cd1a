"""What an annotator prefers, before anything is trained on it: bias, agreement, extremes, redundancy.

All of it is over a sample of scored documents, a table of schema SAMPLE with one float32 column of scores per
annotator beside it. A bias is no fault by itself (the paper ranks inside each language, so a language's level does
not matter), but length, licence or repository size may stand in for quality, and this says how far.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.config import DedupConfig
from pipelines.dedup.keys import document_keys
from pipelines.kernels.lexical import lexical_stats
from snowcoder.base import Config

SAMPLE = pa.schema(
    [
        ("lang", pa.string()),
        ("repo", pa.string()),
        ("path", pa.string()),
        ("license", pa.string()),
        ("repo_bytes", pa.int64()),  # kept bytes of the document's repository in the scored part
        ("text", pa.large_string()),
    ]
)
GROUPS = 12  # of a kind shown; the rest are summed as "others"
SHOWN_CHARACTERS = 1200  # of a document to read
_EDGES = {
    "length": (0, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 1 << 62),
    "repository size": (0, 10_000, 100_000, 1_000_000, 10_000_000, 1 << 62),
    "comment share": (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.01),
}


class Group(Config):
    name: str
    documents: int
    mean: float
    """Mean score."""
    low: float
    high: float
    """Quartiles."""
    rank: float
    """Mean percentile of the group's documents within their languages, 0 to 1: 0.5 is no preference."""
    selected: float
    """Share of the group's bytes that the selection takes."""


class Shown(Config):
    """A document to read."""

    place: str
    """"highest", "median" or "lowest" of its language."""
    score: float
    repo: str
    path: str
    text: str
    cut: bool


class Redundancy(Config):
    """How alike the documents of a set are. Vocabularies are of equally many words, so the figures compare."""

    documents: int
    near_duplicates: float
    """Share of documents with another in the set that shares a near-duplicate band (docs/near_duplicates.md)."""
    largest_repository: float
    """Its share of the set's bytes."""
    repositories: float
    """Effective number: inverse of the sum of squared shares of bytes (Simpson)."""
    words: int
    distinct: int
    """Different words among the first `words`, documents in a seeded order."""
    entropy: float
    """Of their frequencies, bits a word."""


class Diagnosis(Config):
    """One annotator's."""

    annotator: str
    documents: int
    bias: dict[str, tuple[Group, ...]]
    length_correlation: float
    """Spearman's, of score and length, mean over languages weighted by documents."""
    extremes: dict[str, tuple[Shown, ...]]
    selection: Redundancy | None
    random: Redundancy | None
    """As many documents of the same languages, drawn without looking at scores."""


class Diagnostics(Config):
    sampled: int
    shards: int
    annotators: tuple[Diagnosis, ...]
    agreement: dict[str, dict[str, float]]
    """Spearman's rank correlation of scores within languages, mean weighted by documents."""


def diagnose(
    sample: pa.Table,
    scores: Mapping[str, np.ndarray],
    selected: Mapping[str, np.ndarray],
    dedup: DedupConfig,
    shards: int,
    seed: int,
) -> Diagnostics:
    """Everything, for a sample of schema SAMPLE, scores float [n] and selection bool [n] by annotator."""
    facts = _facts(sample)
    lang = np.asarray(sample["lang"].to_pylist(), object)
    found = []
    for name, score in scores.items():
        chosen = selected.get(name)
        pair = (
            _redundancies(sample, lang, chosen, dedup, seed) if chosen is not None and chosen.any() else None
        )
        found.append(
            Diagnosis(
                annotator=name,
                documents=len(score),
                bias=bias(facts, lang, score, chosen),
                length_correlation=spearman_within(facts["length"], score, lang),
                extremes=extremes(sample, lang, score),
                selection=pair[0] if pair else None,
                random=pair[1] if pair else None,
            )
        )
    agreement = {
        one: {other: spearman_within(scores[one], scores[other], lang) for other in scores} for one in scores
    }
    return Diagnostics(sampled=len(sample), shards=shards, annotators=tuple(found), agreement=agreement)


def bias(
    facts: Mapping[str, np.ndarray], lang: np.ndarray, score: np.ndarray, chosen: np.ndarray | None
) -> dict[str, tuple[Group, ...]]:
    """Scores by each fact: numbers in fixed ranges, names by how many documents have them."""
    rank = percentile_within(score, lang)
    size = facts["length"]
    taken = np.zeros(len(score), bool) if chosen is None else chosen
    found = {}
    for kind, values in {"language": lang, **facts}.items():
        groups = []
        for name, members in _members(kind, values):
            own = score[members]
            low, high = np.quantile(own, [0.25, 0.75])
            groups.append(
                Group(
                    name=name,
                    documents=int(members.sum()),
                    mean=float(own.mean()),
                    low=float(low),
                    high=float(high),
                    rank=float(rank[members].mean()),
                    selected=float(size[members & taken].sum() / max(1, size[members].sum())),
                )
            )
        found[kind] = tuple(groups)
    return found


def percentile_within(score: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Each score's mid-rank in its group as a share, float64 [n]; ties share their mean rank."""
    out = np.empty(len(score))
    for name in set(group.tolist()):
        members = np.flatnonzero(group == name)
        out[members] = _ranks(score[members]) / len(members)
    return out


def spearman_within(a: np.ndarray, b: np.ndarray, group: np.ndarray) -> float:
    """Rank correlation inside each group, mean weighted by documents; NaN when no group has two different values."""
    total, weight = 0.0, 0
    for name in sorted(set(group.tolist())):
        members = group == name
        x, y = _ranks(a[members]), _ranks(b[members])
        x, y = x - x.mean(), y - y.mean()
        scale = np.sqrt((x @ x) * (y @ y))
        if scale > 0:
            total += float(x @ y / scale) * int(members.sum())
            weight += int(members.sum())
    return total / weight if weight else float("nan")


def extremes(
    sample: pa.Table, lang: np.ndarray, score: np.ndarray, each: int = 2
) -> dict[str, tuple[Shown, ...]]:
    """The highest, median and lowest documents of each language with at least 3 * each, most documents first."""
    names, counts = np.unique(lang.astype(str), return_counts=True)
    found = {}
    for name in names[np.argsort(-counts, kind="stable")][:GROUPS].tolist():
        order = np.flatnonzero(lang == name)
        order = order[np.argsort(-score[order], kind="stable")]
        if len(order) < 3 * each:
            continue
        middle = (len(order) - each) // 2
        places = {"highest": order[:each], "median": order[middle : middle + each], "lowest": order[-each:]}
        found[name] = tuple(
            _shown(sample, int(row), place, float(score[row]))
            for place, rows in places.items()
            for row in rows
        )
    return found


def redundancy(documents: pa.Table, dedup: DedupConfig, words: int | None = None) -> Redundancy:
    """Of documents with `repo` and `text`, in their order. `words`: count the vocabulary on so many; None: on all."""
    keys = document_keys(documents["text"], dedup)
    _, place, count = np.unique(keys.bands, return_inverse=True, return_counts=True)
    shared = (count[place.reshape(keys.bands.shape)] > 1).any(axis=1) & ~keys.short
    size = pc.binary_length(documents["text"]).to_numpy().astype(np.float64)
    _, repo = np.unique(np.asarray(documents["repo"].to_pylist(), str), return_inverse=True)
    share = np.bincount(repo, size) / max(1.0, size.sum())
    flat = pc.list_flatten(pc.split_pattern_regex(documents["text"], pattern=r"[^A-Za-z0-9_]+"))
    flat = flat.filter(pc.greater(pc.binary_length(flat), 0)).slice(0, words)
    counts = pc.value_counts(flat).field("counts").to_numpy().astype(np.float64)
    frequency = counts / max(1.0, counts.sum())
    return Redundancy(
        documents=len(documents),
        near_duplicates=float(shared.mean()),
        largest_repository=float(share.max()),
        repositories=float(1 / (share @ share)),
        words=len(flat),
        distinct=len(counts),
        entropy=float(-(frequency @ np.log2(frequency))),
    )


def _redundancies(
    sample: pa.Table, lang: np.ndarray, chosen: np.ndarray, dedup: DedupConfig, seed: int
) -> tuple[Redundancy, Redundancy]:
    rng = np.random.default_rng(seed)
    other = np.concatenate(
        [
            rng.permutation(np.flatnonzero(lang == name))[: int((chosen & (lang == name)).sum())]
            for name in sorted(set(lang.tolist()))
        ]
    )
    sets = [sample.take(pa.array(rng.permutation(rows))) for rows in (np.flatnonzero(chosen), other)]
    words = min(redundancy(one, dedup).words for one in sets)
    first, second = (redundancy(one, dedup, words) for one in sets)
    return first, second


def _facts(sample: pa.Table) -> dict[str, np.ndarray]:
    stats = lexical_stats(sample["text"], sample["lang"].fill_null(""))
    characters = np.maximum(pc.utf8_length(sample["text"]).to_numpy(), 1)
    return {
        "length": pc.binary_length(sample["text"]).to_numpy().astype(np.int64),
        "licence": np.asarray(sample["license"].fill_null("").to_pylist(), object),
        "repository size": sample["repo_bytes"].to_numpy(),
        "comment share": np.where(stats.known, stats.comment_characters / characters, np.nan),
    }


def _members(kind: str, values: np.ndarray) -> Sequence[tuple[str, np.ndarray]]:
    if kind in _EDGES:
        edges = _EDGES[kind]
        inside = [(values >= low) & (values < high) for low, high in itertools.pairwise(edges)]
        names = [_range(kind, low, high) for low, high in itertools.pairwise(edges)]
        return [(name, members) for name, members in zip(names, inside, strict=True) if members.any()]
    text = values.astype(str)
    every, counts = np.unique(text, return_counts=True)
    every = every[np.argsort(-counts, kind="stable")]
    found = [(name or "unknown", text == name) for name in every[:GROUPS].tolist()]
    if len(every) > GROUPS:
        found.append((f"{len(every) - GROUPS} others", np.isin(text, every[GROUPS:])))
    return found


def _range(kind: str, low: float, high: float) -> str:
    if kind == "comment share":
        return f"{100 * low:.0f} to {min(100.0, 100 * high):.0f} %"
    if high >= 1 << 62:
        return f"from {low / 1000:g} kB"
    return f"{low / 1000:g} to {high / 1000:g} kB"


def _ranks(values: np.ndarray) -> np.ndarray:
    """Mid-ranks from 0.5, ties sharing their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - counts / 2)[place]


def _shown(sample: pa.Table, row: int, place: str, score: float) -> Shown:
    document = sample.slice(row, 1).to_pylist()[0]
    text = document["text"]
    return Shown(
        place=place,
        score=score,
        repo=document["repo"] or "",
        path=document["path"] or "",
        text=text[:SHOWN_CHARACTERS],
        cut=len(text) > SHOWN_CHARACTERS,
    )


def draw(ordinals: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Ascending places of a seeded uniform sample: which documents are in it depends on their ordinals alone."""
    keys = np.array([mmh3.hash64(int(o).to_bytes(8, "little"), seed)[0] for o in ordinals.tolist()], np.int64)
    return np.sort(np.argsort(keys, kind="stable")[:count])

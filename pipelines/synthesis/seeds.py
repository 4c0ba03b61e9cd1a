"""Which documents the generator is shown: the best-scored of phase 2's selection, half of them Python (paper 2.4).

Every pass here reads the tee, the few per cent of the corpus that phase 2 selected; in memory are a score and an
ordinal per candidate, and the keys by which candidates are compared.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.dedup.config import DedupConfig
from pipelines.schema import ordinal
from pipelines.synthesis.duplicates import Duplicates
from pipelines.synthesis.questions import SEED
from snowcoder.files import write_atomically

Teed = Callable[[list[str]], Iterator[tuple[int, pa.Table]]]
"""Columns -> (shard, its selected documents) in shard order; a document has row, repo, path, lang, text, score."""

_SPARE = 1.25  # candidates per seed, for those that turn out to be near-duplicates


def choose_seeds(
    teed: Teed, count: int, python_share: float | None, dedup: DedupConfig, facts: Path | None = None
) -> Iterator[pa.Table]:
    """The `count` best-scored documents as tables of schema SEED, in corpus order; near-duplicates count once.

    Python gets `python_share` of them; the others share the rest in proportion to their selected documents, as Python
    does too where the share is None. A
    language with too few is short, the others are not stretched. `facts`: a JSON file that says how many of each
    language were to be had and chosen, and down to which score.
    """
    quotas, selected = _quotas(teed, count, python_share)
    candidates = _best(teed, {lang: int(np.ceil(_SPARE * quota)) for lang, quota in quotas.items()})
    alike = _near_duplicates(teed, candidates, dedup)
    chosen: dict[str, list[tuple[float, int]]] = {}
    for lang, scored in candidates.items():
        unique = sorted(
            (pair for pair in scored if pair[1] not in alike), key=lambda pair: (-pair[0], pair[1])
        )
        chosen[lang] = unique[: quotas[lang]]
    if facts is not None:
        write_atomically(facts, json.dumps(_facts(quotas, selected, candidates, chosen, alike), indent=1))
    wanted = np.array(sorted(seed for scored in chosen.values() for _, seed in scored), np.int64)
    for shard, table in teed(["row", "lang", "text"]):
        seeds = _ordinals(shard, table)
        here = np.isin(seeds, wanted, assume_unique=True)
        if here.any():
            found = pa.table([pa.array(seeds), table["lang"], table["text"]], schema=SEED)
            yield found.filter(pa.array(here))


def _ordinals(shard: int, table: pa.Table) -> np.ndarray:
    return np.asarray(ordinal(shard, table["row"].to_numpy().astype(np.int64)))


def _quotas(teed: Teed, count: int, python_share: float | None) -> tuple[dict[str, int], Counter[str]]:
    selected: Counter[str] = Counter()
    for _, table in teed(["lang"]):
        selected.update(table["lang"].to_pylist())
    others = sum(selected.values()) - selected["Python"]
    if python_share is None:
        python_share = selected["Python"] / max(1, sum(selected.values()))
    python = count if not others else round(count * python_share)
    quotas = {
        lang: python if lang == "Python" else round((count - python) * selected[lang] / others)
        for lang in sorted(selected)
        if selected[lang]
    }
    return quotas, selected


def _best(teed: Teed, most: dict[str, int]) -> dict[str, list[tuple[float, int]]]:
    """Per language its best documents as (score, ordinal); of equal scores the earlier one."""
    best: dict[str, list[tuple[float, int]]] = {lang: [] for lang in most}
    for shard, table in teed(["row", "lang", "score"]):
        rows = zip(
            _ordinals(shard, table).tolist(),
            table["lang"].to_pylist(),
            table["score"].to_pylist(),
            strict=True,
        )
        for seed, lang, score in rows:
            item = (float(score), -seed)
            heap = best[lang]
            if len(heap) < most[lang]:
                heapq.heappush(heap, item)
            elif heap and item > heap[0]:
                heapq.heapreplace(heap, item)
    return {lang: [(score, -negative) for score, negative in heap] for lang, heap in best.items()}


def _near_duplicates(
    teed: Teed, candidates: dict[str, list[tuple[float, int]]], dedup: DedupConfig
) -> set[int]:
    """Candidates that resemble an earlier one; the first of the order stays, as everywhere."""
    wanted = np.array(sorted(seed for scored in candidates.values() for _, seed in scored), np.int64)
    index = Duplicates(dedup, (), len(wanted))
    alike: set[int] = set()
    for shard, table in teed(["row", "repo", "path", "lang", "text"]):
        seeds = _ordinals(shard, table)
        here = np.isin(seeds, wanted, assume_unique=True)
        if not here.any():
            continue
        table = table.filter(pa.array(here))
        order = pc.sort_indices(table["row"])
        twins = index.claim(shard, table.take(order))
        alike.update(
            seed for seed, twin in zip(np.sort(seeds[here]).tolist(), twins, strict=True) if twin is not None
        )
    return alike


def _facts(
    quotas: dict[str, int],
    selected: Counter[str],
    candidates: dict[str, list[tuple[float, int]]],
    chosen: dict[str, list[tuple[float, int]]],
    alike: set[int],
) -> dict[str, Any]:
    return {
        lang: {
            "selected": selected[lang],
            "wanted": quotas[lang],
            "chosen": len(chosen[lang]),
            "near_duplicates": sum(seed in alike for _, seed in candidates[lang]),
            "lowest_score": min((score for score, _ in chosen[lang]), default=None),
        }
        for lang in quotas
    }

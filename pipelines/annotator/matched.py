"""The measure on benchmarks: their solutions against unseen corpus files of the same language and like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotator.config import QualityConfig
from pipelines.annotator.quality import Auc, Comparison, Estimate
from pipelines.annotator.roc import auc_influence, clustered_estimate

SOLUTION = pa.schema(
    [("text", pa.large_string()), ("lang", pa.string()), ("benchmark", pa.string()), ("task", pa.string())]
)
"""Solutions as a file would hold them: the prompt and what follows it."""

Scorers = dict[str, Callable[[pa.Table], np.ndarray]]
"""By name, the annotator first: scores of a table with `text` and `lang`; only their order counts."""


@dataclass(frozen=True)
class _Scored:
    """One language's comparison: per scorer the AUC and the documents' influence on it."""

    language: str
    good: np.ndarray
    group: np.ndarray
    size: np.ndarray
    unmatched: int
    auc: dict[str, float]
    influence: dict[str, np.ndarray]


def compare(
    solutions: pa.Table, unseen: pa.Table, scorers: Scorers, cfg: QualityConfig, seed: int
) -> tuple[Comparison, ...]:
    """One comparison per benchmark and language, and each benchmark's mean over its languages.

    `solutions` has schema SOLUTION; `unseen` has `text`, `lang` and `group` (the repository). A language with files
    of like length from fewer than two repositories is left out: nothing could be said of the error.
    """
    found: list[Comparison] = []
    for benchmark in sorted(set(solutions["benchmark"].to_pylist())):
        of_benchmark = solutions.filter(pc.equal(solutions["benchmark"], benchmark))
        scored = []
        for language in sorted(set(of_benchmark["lang"].to_pylist())):
            mine = of_benchmark.filter(pc.equal(of_benchmark["lang"], language))
            files = unseen.filter(pc.equal(unseen["lang"], language))
            one = _score(language, mine, files, scorers, cfg, seed)
            if one is not None:
                scored.append(one)
        found += [_comparison(benchmark, one.language, [one], list(scorers)) for one in scored]
        if len(scored) > 1:
            found.append(_comparison(benchmark, "mean", scored, list(scorers)))
    return tuple(found)


def match(wanted: np.ndarray, sizes: np.ndarray, each: int, max_ratio: float, seed: int) -> np.ndarray:
    """For each of `wanted` (bytes) up to `each` places in `sizes`, int64 [n, each], -1 for none; no place twice.

    In `each` rounds, in a seeded order, every one takes the free file nearest in log length, if it is within
    `max_ratio`.
    """
    logs, own = np.log(np.maximum(sizes, 1)), np.log(np.maximum(wanted, 1))
    free = np.ones(len(sizes), bool)
    out = np.full((len(wanted), each), -1, np.int64)
    rng = np.random.default_rng(seed)
    for turn in range(each):
        for i in rng.permutation(len(wanted)):
            if not free.any():
                return out
            distance = np.where(free, np.abs(logs - own[i]), np.inf)
            nearest = int(np.argmin(distance))
            if distance[nearest] <= np.log(max_ratio):
                out[i, turn] = nearest
                free[nearest] = False
    return out


def _score(
    language: str, solutions: pa.Table, files: pa.Table, scorers: Scorers, cfg: QualityConfig, seed: int
) -> _Scored | None:
    sizes = [pc.binary_length(table["text"]).to_numpy() for table in (solutions, files)]
    places = match(sizes[0], sizes[1], cfg.files_per_solution, cfg.max_ratio, seed)
    matched = places[:, 0] >= 0
    chosen = np.sort(places[places >= 0])
    files = files.take(pa.array(chosen))
    if len(set(files["group"].to_pylist())) < 2 or matched.sum() < 2:
        return None
    solutions = solutions.filter(pa.array(matched))
    columns = pa.schema([SOLUTION.field("text"), SOLUTION.field("lang")])
    documents = pa.concat_tables([t.select(columns.names).cast(columns) for t in (solutions, files)])
    good = np.arange(len(documents)) < len(solutions)
    scores = {name: scorer(documents) for name, scorer in scorers.items()}
    both = {name: auc_influence(np.asarray(score, np.float64), good) for name, score in scores.items()}
    return _Scored(
        language=language,
        good=good,
        # A task's translations are one observation in the mean over languages.
        group=_groups(solutions["task"].to_pylist(), files["group"].to_pylist()),
        size=np.concatenate([sizes[0][matched], sizes[1][chosen]]),
        unmatched=int((~matched).sum()),
        auc={name: auc for name, (auc, _) in both.items()},
        influence={name: influence for name, (_, influence) in both.items()},
    )


def _groups(tasks: Sequence[str], repositories: Sequence[str]) -> np.ndarray:
    names = [f"task {task.rpartition('/')[2]}" for task in tasks] + [f"repo {name}" for name in repositories]
    return np.array([mmh3.hash64(name)[0] for name in names], np.int64)


def _comparison(benchmark: str, language: str, scored: list[_Scored], names: list[str]) -> Comparison:
    """The mean over `scored`, whose errors are joined by task and repository."""
    group = np.concatenate([one.group for one in scored])
    good = np.concatenate([one.good for one in scored])
    size = np.concatenate([one.size for one in scored])

    def estimate(value: dict[str, float], sign: dict[str, float]) -> Estimate:
        influence = np.concatenate(
            [sum(s * one.influence[name] for name, s in sign.items()) / len(scored) for one in scored]
        )
        return clustered_estimate(sum(s * value[name] for name, s in sign.items()), influence, group)

    mean = {name: float(np.mean([one.auc[name] for one in scored])) for name in names}

    def lead(over: str, of: str) -> Estimate:
        return estimate(mean, {of: 1.0, over: -1.0})

    best = max(names, key=lambda name: mean[name])
    clear = all(lead(other, best).low > 0 for other in names if other != best)
    return Comparison(
        benchmark=benchmark,
        language=language,
        positives=int(good.sum()),
        negatives=int((~good).sum()),
        repositories=len(np.unique(group[~good])),
        unmatched=sum(one.unmatched for one in scored),
        median_bytes=(float(np.median(size[good])), float(np.median(size[~good]))),
        scorers=tuple(
            Auc(
                scorer=name,
                auc=_inside(estimate(mean, {name: 1.0})),
                lead=None if name == names[0] else lead(name, names[0]),
            )
            for name in names
        ),
        winner=best if clear else "tie",
    )


def _inside(estimate: Estimate) -> Estimate:
    return Estimate(value=estimate.value, low=max(0.0, estimate.low), high=min(1.0, estimate.high))

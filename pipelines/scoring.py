"""Scoring a shard's kept documents, and teeing those above their language's threshold (paper 2.3).

Scores are facts: committed before anything downstream sees them, replayed ever after. The unit of a commit is a shard:
what was killed in one scores that shard again and no other. Each annotator's scores are a stage of their own
(`score:NAME`), so several live side by side and none voids another's. Cuts are free: another budget re-selects without
the annotator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.annotator.config import AnnotatorConfig
from pipelines.annotator.cuts import Cuts
from pipelines.annotator.score import scorer_fingerprint
from pipelines.curation import Curation, kept_documents
from pipelines.kernels.murmur import exact_keys, fmix64_array
from pipelines.ledger import Ledger, Stage
from pipelines.schema import Shard, ordinal, stable_hash
from snowcoder.files import write_atomically

SCORE_VERSION = 2
SELECT_VERSION = 1


class Scorer(Protocol):
    """Gives each text a score in [0, 1]; `lang` is the text's language."""

    def score(self, text: pa.ChunkedArray, lang: pa.ChunkedArray | None = None) -> np.ndarray: ...


class Annotator(Protocol):
    """How to open a scorer in the process that uses it, and what its scores depend on."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def open(self) -> Scorer: ...


@dataclass(frozen=True)
class TrainedAnnotator:
    """An encoder with the head that `annotator train` wrote."""

    config: AnnotatorConfig
    head_dir: Path

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def fingerprint(self) -> str:
        return scorer_fingerprint(self.config, self.head_dir)

    def open(self) -> Scorer:
        from pipelines.annotator.score import Scorer as Model

        return Model(self.config, self.head_dir)


@dataclass(frozen=True)
class RandomAnnotator:
    """Uniform scores: the control, which continues on random documents for the same number of tokens."""

    seed: int
    name: str = "random"

    @property
    def fingerprint(self) -> str:
        return f"uniform-{self.seed}"

    def open(self) -> Scorer:
        return _Uniform(self.seed)


class _Uniform:
    def __init__(self, seed: int):
        self.seed = seed

    def score(self, text: pa.ChunkedArray, lang: pa.ChunkedArray | None = None) -> np.ndarray:
        keys = exact_keys(text)[:, 0] ^ np.uint64(int(stable_hash(self.seed)[:16], 16))
        return (fmix64_array(keys) / 2.0**64).astype(np.float32)


@dataclass(frozen=True)
class Scoring:
    """Score every kept document; with `thresholds`, also tee the selected ones.

    Args:
        thresholds: the selection's cuts, or plainly the lowest score kept per language; a language without gives
            nothing.
        tee_root: where selected documents are written, one Parquet file a shard.
    """

    curation: Curation
    annotator: Annotator
    phase: str
    thresholds: Mapping[str, float] | None = None
    tee_root: str = ""

    @cached_property
    def ledger(self) -> Ledger:
        return self.curation.ledger

    @cached_property
    def stage(self) -> Stage:
        """Scores depend on the text and the annotator, and on nothing that decides which documents are kept."""
        config = {"annotator": self.annotator.fingerprint}
        return Stage(f"score:{self.annotator.name}", SCORE_VERSION, config, self.curation.claim_stage)

    @cached_property
    def select_stage(self) -> Stage:
        return Stage(f"select:{self.phase}", SELECT_VERSION, self._cuts.identity, self.stage)

    @cached_property
    def _cuts(self) -> Cuts:
        return self.thresholds if isinstance(self.thresholds, Cuts) else Cuts(self.thresholds or {})

    def tee_path(self, shard: Shard) -> Path:
        return Path(self.tee_root) / self.select_stage.folder / f"{shard.shard:08d}.parquet"

    def run(self, shard: Shard, scorer: Scorer | None) -> Scorer | None:
        """Score and tee one shard, replaying what is there. Returns the scorer, opened when it was needed."""
        scores = self.ledger.read(self.stage, shard.shard, shard.prefix)
        teed = self.thresholds is None or _is_of(self.tee_path(shard), shard)
        if scores is not None and teed:
            return scorer
        tables = list(kept_documents(shard, self.curation))
        if scores is None:
            scorer = scorer or self.annotator.open()
            scores = self._score(shard, tables, scorer)
        if not teed:
            self._tee(shard, tables, scores)
        return scorer

    def _score(self, shard: Shard, tables: list[pa.Table], scorer: Scorer) -> pa.Table:
        start = time.perf_counter()
        values = [scorer.score(table["text"], table["lang"]) for table in tables]
        scores = pa.table(
            {
                "row": pa.chunked_array([c for t in tables for c in t["row"].chunks], pa.int32()),
                "lang": pa.chunked_array([c for t in tables for c in t["lang"].chunks], pa.string()),
                "repo": pa.chunked_array([c for t in tables for c in t["repo"].chunks], pa.string()),
                "size": pa.chunked_array([c for t in tables for c in t["size"].chunks], pa.int64()),
                "score": pa.array(np.concatenate(values) if values else [], pa.float32()),
            }
        )
        seconds = time.perf_counter() - start
        self.ledger.commit(self.stage, shard.shard, scores, shard.prefix, seconds=seconds)
        return scores

    def _tee(self, shard: Shard, tables: list[pa.Table], scores: pa.Table) -> None:
        if not tables:
            return
        documents = pa.concat_tables(tables)
        chosen = pa.array(
            self._cuts.select(
                scores["lang"],
                scores["score"].to_numpy(),
                np.asarray(ordinal(shard.shard, scores["row"].to_numpy().astype(np.int64))),
                scores["repo"],
            )
        )
        selected = documents.select(["row", "repo", "path", "lang", "text"]).append_column(
            "score", scores["score"]
        )
        selected = selected.filter(chosen).replace_schema_metadata({b"shard": shard.prefix.encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(selected, sink, compression="zstd")
        write_atomically(self.tee_path(shard), sink.getvalue())


def _is_of(path: Path, shard: Shard) -> bool:
    try:
        return (pq.read_schema(path).metadata or {}).get(b"shard") == shard.prefix.encode()
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class TeedDocuments:
    """Phase 2: the selected documents, as they were teed."""

    scoring: Scoring

    @property
    def stage(self) -> Stage:
        return self.scoring.select_stage

    def of(self, shard: Shard) -> Iterator[pa.Table]:
        path = self.scoring.tee_path(shard)
        if path.exists():
            yield pq.read_table(path)


def scores_of(scoring: Scoring, shards: tuple[Shard, ...]) -> Iterator[pa.Table]:
    """The recorded scores of these shards, one table at a time."""
    for shard in shards:
        table = scoring.ledger.read(scoring.stage, shard.shard, shard.prefix)
        if table is not None:
            yield table


def tokens_of(scores: pa.Table, bytes_per_token: dict[str, float]) -> np.ndarray:
    """Estimated tokens (int64, at least 1) of each scored document: its size by its language's measured ratio."""
    mean = bytes_per_token[""]
    ratios = np.array([bytes_per_token.get(lang, mean) for lang in scores["lang"].to_pylist()], np.float64)
    return np.maximum(1, np.asarray(scores["size"], np.float64) / ratios).astype(np.int64)


def scored_documents(
    scoring: Scoring, shards: tuple[Shard, ...], bytes_per_token: dict[str, float]
) -> Iterator[pa.Table]:
    """The same as tables of `pipelines.annotator.exact.SCORED`, for selection."""
    for shard in shards:
        table = scoring.ledger.read(scoring.stage, shard.shard, shard.prefix)
        if table is not None:
            place = ordinal(shard.shard, table["row"].to_numpy().astype(np.int64))
            tokens = tokens_of(table, bytes_per_token)
            yield (
                table.select(["lang", "repo", "score"])
                .append_column("ordinal", pa.array(place))
                .append_column("tokens", pa.array(tokens))
            )

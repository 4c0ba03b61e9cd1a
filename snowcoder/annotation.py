"""The annotators of a run, side by side in RUN/annotators: train them, score with them, compare them.

Everything looks first at what is recorded: a trained annotator is trained again only when its recipe or the curation
changed, answered questions are never asked again, and scores are verdicts in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.benchmarks import BenchmarkText, available, load
from pipelines.annotator.config import AnnotatorConfig, PositiveSource
from pipelines.annotator.copies import Copies
from pipelines.annotator.front import Front, front_shards
from pipelines.annotator.labels import LabelUse
from pipelines.annotator.matched import SOLUTION
from pipelines.annotator.positives import Positive
from pipelines.annotator.quality import FILE, AnnotatorMetrics
from pipelines.annotator.selection import Selection
from pipelines.annotator.splits import draw, unseen_repositories, wanted_by_language
from pipelines.annotator.train import Measure, train_annotator, train_regression, with_encoder
from pipelines.curation import is_claimed
from pipelines.phases.corpus import curate
from pipelines.schema import stable_hash
from pipelines.scoring import Annotator, TrainedAnnotator
from pipelines.stages.stored_index import build_stored
from snowcoder.base import UserError
from snowcoder.choosing import choose_by
from snowcoder.files import write_atomically
from snowcoder.placed import where_it_scores
from snowcoder.positives import cache_dir, positives
from snowcoder.preflight import preflight
from snowcoder.progress import quiet, say, track

if TYPE_CHECKING:
    from snowcoder.run import Run

FOLDER = "annotators"
RECIPE = "recipe.json"
_KEY = "key.json"
_SPARE = 2.0  # negatives read per negative wanted: copies of positives and benchmark hits drop out


class Annotation:
    """One annotator of a run, in RUN/annotators/NAME. `config` None: the one that the run's recipe configures."""

    def __init__(self, run: Run, config: AnnotatorConfig | None = None):
        self.run, self.config = run, config or run.config.annotator
        self.root = run.root / FOLDER
        self.directory = self.root / self.config.name

    @cached_property
    def annotator(self) -> TrainedAnnotator:
        """To score with. The head must have been trained before its first use."""
        return TrainedAnnotator(with_encoder(self.config, self.directory), self.directory)

    @cached_property
    def key(self) -> str:
        """Of all that the trained annotator depends on: the recipe, the curation, and annotators it learns from."""
        others = [
            _recorded_key(self.root / source.annotator)
            for source in self.config.positives.sources
            if source.kind == "annotator"
        ]
        recipe = self.config.model_dump(mode="json", exclude={"labels": {"engine"}})
        return stable_hash([recipe, self.run.corpus.curation.claim_stage.key, others])

    # -- training -----------------------------------------------------------------------------------------------

    def train(self) -> AnnotatorMetrics:
        """Train, unless this recipe was trained on this curation already. Says and returns how good it is."""
        if self.key != _recorded_key(self.directory):
            preflight(self.run, "curate")
            (self.directory / _KEY).unlink(missing_ok=True)
            write_atomically(self.directory / RECIPE, self.config.model_dump_json(indent=1).encode())
            metrics = self._binary() if self.config.task == "binary" else self._regression()
            write_atomically(self.directory / _KEY, json.dumps(self.key).encode())
        else:
            metrics = AnnotatorMetrics.read(self.directory)
        say(metrics.line())
        return metrics

    def _binary(self) -> AnnotatorMetrics:
        good, report = positives(self.config, self._contaminated, self._scored)
        provenance = pa.BufferOutputStream()
        pq.write_table(good.drop_columns(["text"]), provenance, compression="zstd")
        write_atomically(self.directory / "positives.parquet", provenance.getvalue())
        noise = any(
            AnnotatorMetrics.read(self.root / source.annotator).noise
            for source in self.config.positives.sources
            if source.kind == "annotator"
        )
        return where_it_scores(
            self.run.config,
            train_annotator,
            good,
            self._fresh(self._negatives(good), good["text"]),
            self.config,
            self.directory,
            unseen=self._unseen,
            measure=self._measure(good["text"]),
            about={"key": self.key, "noise": noise, "sources": report.sources},
            labels=self.run.config.ray.labels.annotator,
        )

    def _regression(self) -> AnnotatorMetrics:
        documents, target, use = self._labels()
        return where_it_scores(
            self.run.config,
            train_regression,
            documents,
            target,
            self.config,
            self.directory,
            unseen=self._unseen,
            measure=self._measure(pa.chunked_array([], pa.large_string())),
            about={"key": self.key, "noise": use.noise, "labels": use},
            labels=self.run.config.ray.labels.annotator,
        )

    @cached_property
    def front(self) -> Front:
        """The judged front of the order; what of it is not judged yet is judged now."""
        corpus = self.run.corpus
        shards = front_shards(corpus, self.config.corpus_bytes)
        if any(not is_claimed(shard, corpus.curation) for shard in shards):
            for _ in track(curate(corpus, shards), len(shards), "shards judged"):
                pass
        return Front(corpus, shards, self.root)

    @cached_property
    def _unseen(self) -> frozenset[str]:
        index, config = self.front.index, self.config
        repositories, languages = index["repo"].to_pylist(), index["lang"].to_pylist()
        return unseen_repositories(repositories, languages, config.held_out, config.seed)

    @cached_property
    def _is_unseen(self) -> np.ndarray:
        return np.asarray(pc.is_in(self.front.index["repo"], pa.array(sorted(self._unseen), pa.string())))

    def _negatives(self, good: pa.Table) -> pa.Table:
        """Kept documents, of seen and unseen repositories apart, in the positives' languages, more than are needed."""
        wanted = wanted_by_language(good["lang"], self.config, _SPARE)
        languages = self.front.index["lang"].to_pylist()
        sides = [
            draw(languages, wanted, side, self.config.seed) for side in (self._is_unseen, ~self._is_unseen)
        ]
        return self.front.fetch(np.sort(np.concatenate(sides)))

    def _fresh(self, documents: pa.Table, good: pa.ChunkedArray) -> pa.Table:
        """Without copies and near-copies of the positives, and without items of the benchmarks that we measure with."""
        copies = Copies(len(good) + len(documents) + 1)
        copies.new(good)
        documents = documents.filter(pa.array(copies.new(documents["text"])))
        hits = self._contaminated(documents["text"].to_pylist())
        return documents.filter(pa.array([hit is None for hit in hits], pa.bool_()))

    def _measure(self, good: pa.ChunkedArray) -> Measure | None:
        """Solutions of the benchmarks that are there, and unseen files of their languages and about their lengths."""
        if self._solutions is None:
            return None
        quality, index = self.config.quality, self.front.index
        sizes, names = pc.binary_length(self._solutions["text"]), self._solutions["lang"]
        least = pc.min(sizes).as_py() / quality.max_ratio
        most = pc.max(sizes).as_py() * quality.max_ratio
        size = np.asarray(index["size"])
        allowed = self._is_unseen & (size >= least) & (size <= most)
        wanted: dict[str | None, int] = dict.fromkeys(pc.unique(names).to_pylist(), quality.files)
        places = draw(index["lang"].to_pylist(), wanted, allowed, self.config.seed)
        return Measure(self._solutions, self._fresh(self.front.fetch(places), good))

    # -- benchmarks ---------------------------------------------------------------------------------------------

    @cached_property
    def _solutions(self) -> pa.Table | None:
        directory = self._benchmarks_dir
        rows = []
        for name in self.config.quality.benchmarks:
            if not available(name, directory):
                say(f"{self.config.name}: quality is not measured on {name}, which is not there")
                continue
            rows += [
                {"text": f"{task.prompt}{task.canonical_solution}", "lang": task.language, "benchmark": name,
                 "task": task.task_id}
                for task in load(name, directory)
                if task.canonical_solution.strip()
            ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=SOLUTION) if rows else None

    @property
    def _benchmarks_dir(self) -> Path | None:
        directory = self.run.config.curation.benchmarks_dir
        return Path(directory) if directory else None

    def _contaminated(self, texts: list[str]) -> list[object | None]:
        """Hits of any benchmark of the curation, or of one that quality is measured on."""
        found: list[object | None] = list(self.run.benchmarks.contaminated(texts))
        hits = self._quality_index.contaminated(texts)
        return [first or second for first, second in zip(found, hits, strict=True)]

    @cached_property
    def _quality_index(self) -> Any:
        directory, known = self._benchmarks_dir, self.run.config.curation.benchmarks
        texts: list[BenchmarkText] = []
        for name in self.config.quality.benchmarks:
            if name not in known and available(name, directory):
                texts += [task.text() for task in load(name, directory)]
        settings = self.run.config.curation.decontaminate
        return build_stored(texts, settings, self.run.root / "benchmarks").open()

    # -- labels, and scores as positives ------------------------------------------------------------------------

    def _labels(self) -> tuple[pa.Table, np.ndarray, LabelUse]:
        """(documents `text`, `lang`, `group`; targets in [0, 1]; where they are from), asking what was not asked."""
        from pipelines.annotator import labels
        from pipelines.synthesis.engine import open_engine

        config = self.config
        places = self._to_label()
        drawn = stable_hash([labels.label_settings(config.labels), self._drawn_from, places.tolist()])
        folder = self.root / "labels" / drawn[:16]
        asked = labels.plan(
            (self.front.fetch(part) for part in _parts(places, 1024)), config, folder / "plan", drawn
        )
        with quiet():
            engine = open_engine(config.labels.model, config.labels.engine, cache_dir() / "models")
        say(f"{config.name}: {asked.requests} documents to label by {engine.model}")
        for progress in labels.ask(asked, engine, folder / "requests"):
            say(f"{config.name}: {progress.chunks_done}/{progress.chunks} chunks labelled")
        parameters = config.labels.parameters
        if not parameters and (directory := getattr(engine, "directory", None)):
            parameters = labels.parameters_of(directory)
        found = labels.read_labels(folder / "requests", config, parameters)
        if found.use.noise:
            size = f"{parameters / 1e6:,.0f}M parameters" if parameters else "unknown size"
            say(f"{config.name}: labels of a model of {size} are noise, and so is what is learnt from them")
        return self.front.fetch(found.ordinal), found.target, found.use

    @property
    def _drawn_from(self) -> list[str]:
        return [self.run.corpus.curation.claim_stage.key, self.front.shards[-1].prefix]

    def _to_label(self) -> np.ndarray:
        labels, languages = self.config.labels, self.front.index["lang"].to_pylist()
        everything = np.ones(len(languages), bool)
        wanted: dict[str | None, int] = {None: labels.documents}
        if labels.mix == "even":
            names = sorted(set(languages))
            wanted = dict.fromkeys(names, -(-labels.documents // len(names)))
        return draw(languages, wanted, everything, self.config.seed)

    def _scored(self, source: PositiveSource) -> Iterator[Positive]:
        """Kept files of seen repositories that another annotator of the run scores highest."""
        other = AnnotatorMetrics.read(self.root / source.annotator)
        recipe = _recorded_recipe(self.root / source.annotator)
        annotator = Annotation(self.run, recipe).annotator
        low, high = recipe.label_range if recipe.task == "regression" else (0.0, 1.0)
        seen = np.flatnonzero(~self._is_unseen)
        pool = np.random.default_rng(self.config.seed).permutation(seen)
        pool = np.sort(pool[: 4 * source.max_documents or len(pool)])
        scores = where_it_scores(self.run.config, _scores, annotator, self.front, pool)
        least = -np.inf if source.at_least is None else (source.at_least - low) / (high - low)
        chosen = scores >= least
        if source.or_best and (source.at_least is None or not chosen.any()):
            least = np.quantile(scores, 1 - source.or_best)
            chosen = scores >= least
            say(
                f"{self.config.name}: no file reaches {source.at_least} of {other.annotator}; the best "
                f"{source.or_best:.0%} are taken, from {low + least * (high - low):.2f}"
            )
        for part in _parts(pool[chosen], 1024):
            for place, row in zip(part.tolist(), self.front.fetch(part).to_pylist(), strict=True):
                yield Positive(row["text"], row["lang"], row["group"], other.annotator, str(place))

    # -- scoring ------------------------------------------------------------------------------------------------

    def score(self) -> Selection:
        """Train if need be, score the kept documents, and set each language's threshold for phase 2's budget."""
        preflight(self.run, "score")
        self.train()
        return choose_by(self.run, self.annotator, self.directory / "selection.json")


def trained(root: Path) -> dict[str, AnnotatorMetrics]:
    """Metrics of all annotators of a run directory, by name. One whose training was cut short is not among them."""
    folders = sorted((root / FOLDER).glob(f"*/{FILE}"))
    return {
        path.parent.name: AnnotatorMetrics.read(path.parent)
        for path in folders
        if (path.parent / _KEY).exists()
    }


def recorded(run: Run, name: str) -> Annotation:
    """An annotator of the run by the recipe that it was trained with."""
    return Annotation(run, _recorded_recipe(run.root / FOLDER / name))


def _scores(annotator: Annotator, front: Front, places: np.ndarray) -> np.ndarray:
    """Texts are read where they are scored, a part at a time: all of them would be gigabytes."""
    scorer = annotator.open()
    tables = (front.fetch(part) for part in _parts(places, 1024))
    return np.concatenate([scorer.score(table["text"], table["lang"]) for table in tables])


def _parts(places: np.ndarray, size: int) -> list[np.ndarray]:
    return [places[start : start + size] for start in range(0, max(len(places), 1), size)]


def _recorded_key(directory: Path) -> str | None:
    try:
        return json.loads((directory / _KEY).read_text())
    except FileNotFoundError:
        return None


def _recorded_recipe(directory: Path) -> AnnotatorConfig:
    return AnnotatorConfig.model_validate_json((directory / RECIPE).read_text())


__all__ = ["FOLDER", "Annotation", "UserError", "recorded", "trained"]

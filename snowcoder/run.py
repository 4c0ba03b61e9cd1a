"""A run: its directory, its Ray session, and its phases one after the other.

Every step looks first at what is recorded and does only the rest, so a run that was stopped anywhere is continued
by starting it again.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.benchmarks import BenchmarkText, available, load
from pipelines.annotator.selection import Selection
from pipelines.curation import Curation
from pipelines.dedup.shard_order import preferred
from pipelines.ledger import Ledger
from pipelines.manifest import Manifest, build_manifest
from pipelines.phases.continued import continued
from pipelines.phases.corpus import Corpus, curate, make_tokenizer
from pipelines.phases.general import general
from pipelines.schema import Shard
from pipelines.scoring import Annotator, RandomAnnotator, TrainedAnnotator
from pipelines.sources import shard_repositories
from pipelines.sources.repository_facts import RepositoryFacts, write_facts
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.stored_index import StoredIndex, build_stored
from pipelines.stream import Plan, in_order
from snowcoder.annotation import Annotation
from snowcoder.base import UserError
from snowcoder.choosing import choose_by, write_realised
from snowcoder.config import RunConfig, save_config
from snowcoder.model_card import refresh_evaluation
from snowcoder.preflight import preflight, stream_resources
from snowcoder.progress import quiet, say, track
from snowcoder.session import start_ray
from train.config import ScheduleConfig

if TYPE_CHECKING:
    pass


class Run:
    """One run in one directory. Opening it starts nothing but the manifest pass.

    Raises UserError when the source is missing or the directory cannot be written.
    """

    def __init__(self, config: RunConfig, root: str | Path, accept_new_data: bool = False):
        self.config, self.root = config, Path(root).resolve()
        self.accept_new_data = accept_new_data
        save_config(config, self.root / "config.yaml")

    @cached_property
    def manifest(self) -> Manifest:
        """The shards in judging order. Made anew each time: what changed in the source shows as other shards."""
        source, dedup = self.config.source, self.config.curation.dedup

        def best_first(shards: list[Shard]) -> list[Shard]:
            if self.facts is None:
                raise UserError(
                    "dedup.order: preferred: nothing is known of repositories; name a table in source.facts"
                )
            return preferred(
                shards, [shard_repositories(shard, source) for shard in shards], self.facts, dedup
            )

        order = best_first if dedup.order == "preferred" else None
        manifest = build_manifest(source, self.config.seed, order)
        manifest.write(self.root / "manifest.jsonl")
        return manifest

    @cached_property
    def facts(self) -> RepositoryFacts | None:
        """What is known of repositories, read again each time: `dedup.prefer` depends on it."""
        facts = self.config.source.facts
        return write_facts(facts, self.root / "repositories.arrow") if facts.paths else None

    @cached_property
    def benchmarks(self) -> BenchmarkIndex:
        return self._stored_benchmarks.open()

    @cached_property
    def _stored_benchmarks(self) -> StoredIndex:
        """Built once for these texts, and found again by their hash."""
        settings = self.config.curation.decontaminate
        return build_stored(self.benchmark_texts(), settings, self.root / "benchmarks")

    def benchmark_texts(self) -> list[BenchmarkText]:
        curation = self.config.curation
        directory = Path(curation.benchmarks_dir) if curation.benchmarks_dir else None
        texts = []
        for name in curation.benchmarks:
            try:
                texts += [task.text() for task in load(name, directory)]
            except UserError as error:
                if not curation.allow_missing_benchmarks or available(name, directory):
                    raise
                say(f"WARNING decontamination runs without {name}: {error}")
        return texts

    @cached_property
    def corpus(self) -> Corpus:
        config = self.config
        curation = Curation(
            source=config.source,
            stages=config.curation,
            dedup=config.curation.dedup,
            benchmarks=self._stored_benchmarks,
            ledger_root=str(self.root / "ledger"),
            facts=self.facts,
        )
        for line in Ledger(curation.ledger_root).open(curation.chain()):
            say(f"ledger: {line}")
        return Corpus(
            root=self.root,
            shards=in_order(self.manifest),
            curation=curation,
            sequences=config.sequences,
            resources=stream_resources(config, [shard.bytes for shard in self.manifest.shards]),
            seed=config.seed,
            held_out=config.validation.held_out_shards,
        )

    def start_ray(self) -> None:
        start_ray(self.config.ray, self.root)

    # -- curation -----------------------------------------------------------------------------------------------

    def curate(self) -> None:
        """Judge every shard of the source."""
        preflight(self, "curate")
        corpus = self.corpus
        found = self.manifest.summary()
        say(
            f"curate: {found['shards']} shards, {found['repositories']} repositories, {found['bytes'] / 1e6:.1f} MB"
        )
        for _ in track(curate(corpus), len(corpus.shards), "shards judged"):
            pass

    def tokenizer(self) -> Path:
        corpus = self.corpus
        self.start_ray()
        return make_tokenizer(corpus, self.config.tokenizer)

    # -- phase 1 ------------------------------------------------------------------------------------------------

    def _train(
        self, plan: Plan, phase: str, tokens: int, schedule: ScheduleConfig, init_from: Path | None
    ) -> dict:
        from snowcoder.phase_training import train_phase

        return train_phase(self, plan, phase, tokens, schedule, init_from)

    def general(self) -> dict:
        """Phase 1."""
        config = self.config.general
        preflight(self, "general")
        self.tokenizer()
        return self._train(
            general(self.corpus, config.epochs), "general", config.tokens, config.schedule, None
        )

    # -- phase 2 ------------------------------------------------------------------------------------------------

    @cached_property
    def annotation(self) -> Annotation:
        """The configured annotator. Others of the run lie beside it (`snowcoder.annotation.trained`)."""
        return Annotation(self)

    @property
    def annotator(self) -> TrainedAnnotator:
        return self.annotation.annotator

    def score(self) -> Selection:
        """Score the kept documents by the configured annotator, and set the thresholds of phase 2."""
        selection = self.annotation.score()
        selection.write(self.root / "selection.json")
        return selection

    def _continued_plan(self, annotator: Annotator, selection: Selection, phase: str) -> Plan:
        """The paper's passes, and more if the horizon takes them: what is selected is near the budget, not on it."""
        config = self.config.continued
        passes = max(config.repeats, math.ceil(config.tokens / max(1, selection.realised_tokens))) + 1
        return continued(self.corpus, annotator, selection.thresholds, passes, phase)

    def continued(self) -> dict:
        """Phase 2, and its control on random documents for the same number of tokens."""
        config = self.config.continued
        general_model = self._model("general")
        preflight(self, "continued")
        selection = self.score()
        plan = self._continued_plan(self.annotator, selection, "continued")
        summary = self._train(plan, "continued", config.tokens, config.schedule, general_model)
        write_realised(self.corpus, self.annotator, selection)
        if config.control:
            plan = self._continued_plan(
                self.random, choose_by(self, self.random, self.root / "selection-random.json"), "control"
            )
            self._train(plan, "control", config.tokens, config.schedule, general_model)
        return summary

    @cached_property
    def random(self) -> Annotator:
        return RandomAnnotator(self.config.seed)

    # -- phase 3 ------------------------------------------------------------------------------------------------

    def enhanced(self) -> dict:
        """Phase 3: write files from the best documents, then train on them; or on real ones (`enhanced.data`)."""
        from snowcoder.diversity import measure_diversity
        from snowcoder.real_enhanced import real_plan
        from snowcoder.synthesis import prepare

        config = self.config.enhanced
        model = self._model("continued")
        preflight(self, "enhanced")
        selection = Selection.read(self.root / "selection.json")
        if config.data == "real":
            plan = real_plan(self, selection)
            return self._train(plan, "enhanced", config.tokens, config.schedule, model)
        plan = prepare(self, selection)
        summary = self._train(plan, "enhanced", config.tokens, config.schedule, model)
        measure_diversity(self)
        return summary

    def _model(self, phase: str) -> Path:
        model = self.root / "model" / phase
        if not (model / "phase.json").exists():
            raise UserError(
                f"{model}: no finished model of the {phase} phase; run `snowcoder run {phase}` with this --out"
            )
        return model

    # -- evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, name: str, model: Path | None = None) -> dict[str, Any]:
        """Evaluate a model (default: the phase of that name) into RUN/eval/<name>.json."""
        from evaluation.run import evaluate_model

        cfg = self.config.evaluation
        if cfg.data_dir is None and self.config.curation.benchmarks_dir:
            cfg = cfg.model_copy(update={"data_dir": Path(self.config.curation.benchmarks_dir)})
        with quiet():
            result = evaluate_model(model or self._model(name), cfg, self.root / "eval" / f"{name}.json")
        for benchmark in cfg.benchmarks:
            found = result[benchmark]
            say(f"{name}: {benchmark} {found['passed']}/{found['total']}, pass@1 {found['pass@1']:.3f}")
        for benchmark, value in result.get("bits_per_byte", {}).items():
            say(f"{name}: {benchmark} reference solutions {value:.4f} bits per byte")
        if model is None:
            refresh_evaluation(self.root, name)
        return result

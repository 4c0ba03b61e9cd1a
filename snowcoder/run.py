"""A run: its directory, its Ray session, and its phases one after the other.

Every step looks first at what is recorded and does only the rest, so a run that was stopped anywhere is continued
by starting it again.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.benchmarks import BenchmarkText, available, load
from pipelines.annotator.selection import Selection
from pipelines.curation import Curation, is_claimed
from pipelines.dedup.shard_order import preferred
from pipelines.ledger import Ledger
from pipelines.manifest import Manifest, build_manifest
from pipelines.phases.continued import continued
from pipelines.phases.corpus import Corpus, check_position, curate, make_tokenizer, position_fingerprint
from pipelines.phases.general import general
from pipelines.schema import Shard
from pipelines.scoring import Annotator, RandomAnnotator, TrainedAnnotator
from pipelines.sequences.deal import Dealing
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.sources import shard_repositories
from pipelines.sources.repository_facts import RepositoryFacts, write_facts
from pipelines.stages.benchmark_index import BenchmarkIndex
from pipelines.stages.stored_index import StoredIndex, build_stored
from pipelines.stream import Plan, in_order, rehash_all, training_stream
from snowcoder.annotation import Annotation
from snowcoder.base import UserError
from snowcoder.choosing import choose_by, write_realised
from snowcoder.config import RunConfig, save_config
from snowcoder.files import write_atomically
from snowcoder.held_out import validation
from snowcoder.loss_accounts import accounts_of
from snowcoder.metrics import Exporter
from snowcoder.model_card import link_model, refresh_evaluation, write_card
from snowcoder.preflight import preflight, stream_resources
from snowcoder.progress import follow, quiet, say, track
from train.config import ScheduleConfig, TrainConfig
from train.validation import FAILED

if TYPE_CHECKING:
    from ray.data import Dataset


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
        """Join the cluster that the job runs on, the one that is named, or start one here."""
        import ray
        import ray.data

        if not ray.is_initialized():
            settings = self.config.ray
            address = settings.address or os.environ.get("RAY_ADDRESS", "")
            # What workers print stays in Ray's own logs: the run's progress is told from what they record.
            quiet = {"log_to_driver": False, "logging_level": "ERROR"}
            if address:
                os.environ.setdefault(
                    "RAY_TRAIN_ENABLE_STATE_TRACKING", "1"
                )  # fills the dashboard's Train tab
                ray.init(address=address, **quiet)
                exporter = Exporter(self.root)
                exporter.start()
                atexit.register(exporter.stop)  # before Ray's own: the end of the run is seen too
            else:
                cpus = settings.num_cpus or max(4, os.cpu_count() or 1)
                ray.init(
                    num_cpus=cpus,
                    object_store_memory=settings.object_store_bytes,
                    include_dashboard=False,
                    **quiet,
                )
        # What libraries log is in Ray's session directory too; here it would bury the run's own lines.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        logging.disable(logging.WARNING)
        warnings.filterwarnings("ignore", message=".*exclude_resources.*")  # Ray Train's own use of Ray Data
        ray.data.DataContext.get_current().enable_progress_bars = False

    def store_index(self, folder: Path) -> None:
        """Write the near-duplicate index of all judged shards, to deduplicate other corpora against (`dedup.against`).

        Built again from the ledger and the source. UserError when a shard is not judged or the folder is not empty.
        """
        from pipelines.dedup.claim import rebuild
        from pipelines.dedup.index import Index, LocalPartitions
        from pipelines.dedup.snapshot import load_index, save_index

        curation, shards = self.corpus.curation, self.corpus.shards
        missing = [shard.shard for shard in shards if not is_claimed(shard, curation)]
        if missing:
            raise UserError(
                f"{self.root}: {len(missing)} shards are not judged yet; run `snowcoder curate` with it first"
            )
        self.start_ray()
        below = [load_index(folder, curation.dedup) for folder in curation.dedup.against]
        index = Index(LocalPartitions(curation.dedup), below)
        hashed = track(rehash_all(list(shards), curation), len(shards), "shards hashed")
        rebuild(index, hashed, curation.dedup)
        save_index(index, folder, curation.dedup, run=self.config.name, shards=len(shards))
        say(f"index: {sum(part['documents'] for part in index.stats()):,} documents in {folder}")

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

    # -- training -----------------------------------------------------------------------------------------------

    def train_config(self, schedule: ScheduleConfig) -> TrainConfig:
        """The phase's training: its schedule, and what the stream decides."""
        config = self.config
        model = config.train.model.model_copy(
            update={"vocab": load_tokenizer(str(self.tokenizer())).vocab_size}
        )
        return config.train.model_copy(
            update={
                "model": model,
                "schedule": schedule,
                "seq_len": config.sequences.seq_len,
                "group": config.sequences.deal_batches,
                "seed": config.seed,
                "worker_labels": config.ray.labels.training,
                "stream_labels": config.ray.labels.curation,
            }
        )

    def train(
        self, plan: Plan, phase: str, tokens: int, schedule: ScheduleConfig, init_from: Path | None
    ) -> dict:
        """Stream a phase's plan into training up to `tokens`, export the model, and return the summary."""
        from train.checkpoints import checkpoint_storage, read_pointer
        from train.export import export
        from train.trainer import fit

        config, cfg = self.config, self.train_config(schedule)
        steps = tokens // cfg.tokens_per_step
        if steps < 1:
            raise UserError(
                f"{phase}.tokens: {tokens} do not fill one global batch of {cfg.tokens_per_step} tokens"
            )

        def stream(position: int, stop: int, workers: int) -> Dataset:
            dealing = Dealing(
                global_batch=cfg.global_batch,
                world_size=workers,
                batches=cfg.group,
                seq_len=cfg.seq_len,
                held_back=cfg.prefetch_steps,
            )
            return training_stream(plan, dealing, position, stop)

        if plan.order.shuffled:
            self.curate()  # every shard's claims, in their own order
        for line in Ledger(plan.packing.ledger_root).open([plan.packing.stage]):
            say(f"ledger: {line}")
        phase_dir = self.root / "train" / phase
        pointer = read_pointer(checkpoint_storage(cfg, phase, phase_dir))
        if pointer is not None:
            check_position(plan, cfg.global_batch, pointer.position, phase_dir, self.accept_new_data)
        say(f"{phase}: {steps} steps of {cfg.tokens_per_step} tokens on {cfg.num_workers} workers")
        with follow(phase_dir / "metrics.jsonl", phase, steps, cfg.progress_every_seconds):
            summary = fit(
                cfg,
                phase,
                stream,
                self.root,
                total_steps=steps,
                fingerprint=position_fingerprint(plan, cfg.global_batch),
                init_from=init_from,
                stream_cpus=plan.cpus,
                accept_new_data=self.accept_new_data,
                carry_from=init_from.name if init_from and cfg.carry_optimizer else "",
                accounts=accounts_of(plan.shards, config.source),
                validation=validation(self),
            )
        model = self.root / "model" / phase
        if not _exported(model, summary):
            with quiet():
                export(self.root, phase, cfg, self.tokenizer())
            write_atomically(model / "phase.json", json.dumps({"checkpoint": summary["checkpoint"]}).encode())
        if (failed := phase_dir / FAILED).exists():
            say(f"WARNING {phase}: validation failed: {failed.read_text().splitlines()[-1]} ({failed})")
        write_card(self, phase, plan, cfg, summary, init_from)
        if phase != "control":
            link_model(self.root, phase)
        say(
            f"{phase}: loss {summary['first_loss']:.3f} -> {summary['last_loss']:.3f}, "
            f"{summary['tokens_per_second']:.0f} tokens/s, data wait {summary['data_wait_share']:.1%}"
        )
        return summary

    def general(self) -> dict:
        """Phase 1."""
        config = self.config.general
        preflight(self, "general")
        self.tokenizer()
        return self.train(
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
        summary = self.train(plan, "continued", config.tokens, config.schedule, general_model)
        write_realised(self.corpus, self.annotator, selection)
        if config.control:
            plan = self._continued_plan(
                self.random, choose_by(self, self.random, self.root / "selection-random.json"), "control"
            )
            self.train(plan, "control", config.tokens, config.schedule, general_model)
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
            return self.train(plan, "enhanced", config.tokens, config.schedule, model)
        plan = prepare(self, selection)
        summary = self.train(plan, "enhanced", config.tokens, config.schedule, model)
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


def _exported(model: Path, summary: dict[str, Any]) -> bool:
    try:
        return json.loads((model / "phase.json").read_text())["checkpoint"] == summary["checkpoint"]
    except FileNotFoundError:
        return False

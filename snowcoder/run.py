"""A run: its directory, its Ray session, and its phases one after the other.

Every step looks first at what is recorded and does only the rest, so a run that was stopped anywhere is continued
by starting it again.
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.benchmarks import BenchmarkText, available, load
from pipelines.curation import Curation
from pipelines.ledger import Ledger, write_atomically
from pipelines.manifest import Manifest, build_manifest
from pipelines.phases.corpus import Corpus, curate, make_tokenizer, position_fingerprint
from pipelines.phases.general import general
from pipelines.scoring import Annotator, RandomAnnotator, TrainedAnnotator
from pipelines.sequences.deal import Dealing
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.stages.decontaminate import BenchmarkIndex
from pipelines.stream import Plan, Resources, in_order, training_stream
from snowcoder.base import UserError
from snowcoder.config import RunConfig, save_config
from snowcoder.progress import say, track
from train.config import ScheduleConfig, TrainConfig


class Run:
    """One run in one directory. Opening it starts nothing but the manifest pass.

    Raises UserError when the source is missing or the directory cannot be written.
    """

    def __init__(self, config: RunConfig, root: str | Path):
        self.config, self.root = config, Path(root).resolve()
        save_config(config, self.root / "config.yaml")

    @cached_property
    def manifest(self) -> Manifest:
        """The shards in judging order. Made anew each time: what changed in the source shows as other shards."""
        manifest = build_manifest(self.config.source, self.config.seed)
        manifest.write(self.root / "manifest.jsonl")
        return manifest

    @cached_property
    def benchmarks(self) -> BenchmarkIndex:
        return BenchmarkIndex.build(self._benchmark_texts())

    def _benchmark_texts(self) -> list[BenchmarkText]:
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
            rules=config.curation.rules,
            decontaminate=config.curation.decontaminate,
            dedup=config.curation.dedup,
            benchmarks=self.benchmarks,
            ledger_root=str(self.root / "ledger"),
        )
        for line in Ledger(curation.ledger_root).open(curation.stages()):
            say(f"ledger: {line}")
        ray = config.ray
        return Corpus(
            root=self.root,
            shards=in_order(self.manifest),
            curation=curation,
            sequences=config.sequences,
            resources=Resources(
                score_actors=ray.score_actors, score_cpus=ray.score_cpus, score_gpus=ray.score_gpus
            ),
            seed=config.seed,
        )

    def start_ray(self) -> None:
        """Join the cluster that the job runs on, the one that is named, or start one here."""
        import ray
        import ray.data

        if not ray.is_initialized():
            settings = self.config.ray
            address = settings.address or os.environ.get("RAY_ADDRESS", "")
            os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
            if address:
                ray.init(address=address, log_to_driver=True)
            else:
                cpus = settings.num_cpus or max(4, os.cpu_count() or 1)
                ray.init(
                    num_cpus=cpus,
                    object_store_memory=settings.object_store_bytes,
                    include_dashboard=False,
                    configure_logging=True,
                    logging_level="WARNING",
                )
        # Ray Data's own bars fill a job's log and fight with ours on a terminal.
        ray.data.DataContext.get_current().enable_progress_bars = False

    # -- curation -----------------------------------------------------------------------------------------------

    def curate(self) -> None:
        """Judge every shard of the source."""
        self.start_ray()
        corpus = self.corpus
        say(f"curate: {len(corpus.shards)} shards, {self.manifest.summary()}")
        for _ in track(curate(corpus), len(corpus.shards), "shards judged"):
            pass

    def tokenizer(self) -> Path:
        self.start_ray()
        return make_tokenizer(self.corpus, self.config.tokenizer)

    # -- training -----------------------------------------------------------------------------------------------

    def train_config(self, schedule: ScheduleConfig) -> TrainConfig:
        """The phase's training: its schedule, and what the stream decides."""
        config = self.config
        model = config.train.model.model_copy(update={"vocab": load_tokenizer(str(self.tokenizer())).vocab_size})
        return config.train.model_copy(
            update={
                "model": model,
                "schedule": schedule,
                "seq_len": config.sequences.seq_len,
                "group": config.sequences.deal_batches,
                "seed": config.seed,
            }
        )

    def train(self, plan: Plan, phase: str, tokens: int, schedule: ScheduleConfig, init_from: Path | None) -> dict:
        """Stream a phase's plan into training up to `tokens`, export the model, and return the summary."""
        from train.export import export
        from train.trainer import fit

        cfg = self.train_config(schedule)
        steps = tokens // cfg.tokens_per_step
        if steps < 1:
            raise UserError(f"{phase}.tokens: {tokens} do not fill one global batch of {cfg.tokens_per_step} tokens")
        dealing = Dealing(
            global_batch=cfg.global_batch, world_size=cfg.num_workers, batches=cfg.group, seq_len=cfg.seq_len
        )
        for line in Ledger(plan.packing.ledger_root).open([plan.packing.stage]):
            say(f"ledger: {line}")
        say(f"{phase}: {steps} steps of {cfg.tokens_per_step} tokens on {cfg.num_workers} workers")
        summary = fit(
            cfg,
            phase,
            lambda position: training_stream(plan, dealing, position, steps),
            self.root,
            total_steps=steps,
            fingerprint=position_fingerprint(plan, cfg.global_batch),
            init_from=init_from,
        )
        model = self.root / "model" / phase
        if not _exported(model, summary):
            export(self.root, phase, cfg, self.tokenizer())
            write_atomically(model / "phase.json", json.dumps({"checkpoint": summary["checkpoint"]}).encode())
        say(
            f"{phase}: loss {summary['first_loss']:.3f} -> {summary['last_loss']:.3f}, "
            f"{summary['tokens_per_second']:.0f} tokens/s, data wait {summary['data_wait_share']:.1%}"
        )
        return summary

    def general(self) -> dict:
        """Phase 1."""
        config = self.config.general
        self.tokenizer()
        return self.train(general(self.corpus, config.epochs), "general", config.tokens, config.schedule, None)

    # -- annotator ----------------------------------------------------------------------------------------------

    @cached_property
    def annotator(self) -> Annotator:
        return TrainedAnnotator(self.config.annotator, self.root / "annotator")

    @cached_property
    def random(self) -> Annotator:
        return RandomAnnotator(self.config.seed)


def _exported(model: Path, summary: dict[str, Any]) -> bool:
    try:
        return json.loads((model / "phase.json").read_text())["checkpoint"] == summary["checkpoint"]
    except FileNotFoundError:
        return False

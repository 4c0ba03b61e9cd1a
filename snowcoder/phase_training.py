"""One phase's training: its stream into the workers, the exported model, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.ledger import Ledger
from pipelines.phases.corpus import check_position, position_fingerprint
from pipelines.sequences.tokenizer import load_tokenizer
from pipelines.stream import Plan, training_stream
from snowcoder.base import UserError
from snowcoder.files import write_atomically
from snowcoder.held_out import validation
from snowcoder.loss_accounts import accounts_of
from snowcoder.model_card import link_model, packing_totals, write_card
from snowcoder.progress import follow, quiet, say
from train.checkpoints import checkpoint_storage, read_pointer
from train.config import ScheduleConfig, TrainConfig
from train.deal import dealing
from train.export import export
from train.trainer import fit
from train.validation import FAILED

if TYPE_CHECKING:
    from ray.data import Dataset

    from snowcoder.run import Run


def train_config(run: Run, schedule: ScheduleConfig) -> TrainConfig:
    """The phase's training: its schedule, and what the stream decides."""
    config = run.config
    model = config.train.model.model_copy(update={"vocab": load_tokenizer(str(run.tokenizer())).vocab_size})
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


def train_phase(
    run: Run, plan: Plan, phase: str, tokens: int, schedule: ScheduleConfig, init_from: Path | None
) -> dict:
    """Stream a phase's plan into training up to `tokens`, export the model, and return the summary."""

    config, cfg = run.config, train_config(run, schedule)
    steps = tokens // cfg.tokens_per_step
    if steps < 1:
        raise UserError(
            f"{phase}.tokens: {tokens} do not fill one global batch of {cfg.tokens_per_step} tokens"
        )

    def stream(position: int, stop: int, workers: int) -> Dataset:
        return training_stream(plan, dealing(cfg, workers), position, stop)

    if plan.order.shuffled:
        run.curate()  # every shard's claims, in their own order
    for line in Ledger(plan.packing.ledger_root).open([plan.packing.stage]):
        say(f"ledger: {line}")
    phase_dir = run.root / "train" / phase
    pointer = read_pointer(checkpoint_storage(cfg, phase, phase_dir))
    if pointer is not None:
        check_position(plan, cfg.global_batch, pointer.position, phase_dir, run.accept_new_data)
    say(f"{phase}: {steps} steps of {cfg.tokens_per_step} tokens on {cfg.num_workers} workers")
    with follow(phase_dir / "metrics.jsonl", phase, steps, cfg.progress_every_seconds):
        summary = fit(
            cfg,
            phase,
            stream,
            run.root,
            total_steps=steps,
            fingerprint=position_fingerprint(plan, cfg.global_batch),
            init_from=init_from,
            stream_cpus=plan.cpus,
            accept_new_data=run.accept_new_data,
            carry_from=init_from.name if init_from and cfg.carry_optimizer else "",
            accounts=accounts_of(plan.shards, config.source),
            validation=validation(run),
        )
    model = run.root / "model" / phase
    if not _exported(model, summary):
        with quiet():
            export(run.root, phase, cfg, run.tokenizer())
        write_atomically(model / "phase.json", json.dumps({"checkpoint": summary["checkpoint"]}).encode())
    if (failed := phase_dir / FAILED).exists():
        say(f"WARNING {phase}: validation failed: {failed.read_text().splitlines()[-1]} ({failed})")
    packing = packing_totals(plan)
    write_atomically(phase_dir / "packing.json", json.dumps(packing).encode())
    write_card(run, phase, plan, cfg, summary, packing, init_from)
    if phase != "control":
        link_model(run.root, phase)
    say(
        f"{phase}: loss {summary['first_loss']:.3f} -> {summary['last_loss']:.3f}, "
        f"{summary['tokens_per_second']:.0f} tokens/s, data wait {summary['data_wait_share']:.1%}"
    )
    return summary


def _exported(model: Path, summary: dict[str, Any]) -> bool:
    try:
        return json.loads((model / "phase.json").read_text())["checkpoint"] == summary["checkpoint"]
    except FileNotFoundError:
        return False

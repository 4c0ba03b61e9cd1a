"""A synthetic order whose row i is the same whoever asks for it, streamed through Ray into training."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from ray import cloudpickle

from pipelines.schema import sequence_schema
from train import audit
from train.checkpoints import read_pointer
from train.config import ModelConfig, ScheduleConfig, TrainConfig
from train.deal import deal
from train.export import weights
from train.trainer import fit

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import a test file

SEQ_LEN, VOCAB, STEPS = 32, 64, 12
MODEL = ModelConfig(layers=2, hidden=64, ffn=96, heads=1, vocab=VOCAB, context=SEQ_LEN)


def config(**changes) -> TrainConfig:
    settings = {
        "model": MODEL,
        "schedule": ScheduleConfig(warmup_tokens=64, peak_lr=3e-3, end_lr=0.0),
        "seq_len": SEQ_LEN,
        "global_batch": 8,
        "micro_batch": 2,
        "num_workers": 2,
        "group": 3,
        "checkpoint_every_steps": 5,
        "max_failures": 2,
        "progress_every_seconds": 1.0,
    }
    return TrainConfig(**settings | changes)


def sequences(first: int, count: int, seq_len: int = SEQ_LEN, batch: int = 8) -> pa.Table:
    """Rows first..first+count of an endless order; row i is the same whoever asks for it."""
    index = np.arange(first, first + count)
    tokens = np.stack([np.random.default_rng(i).zipf(1.5, seq_len) % VOCAB for i in index]).astype(np.int32)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(tokens.reshape(-1)), seq_len),
        pa.array(seq_len - index % 7, pa.int32()),
        pa.array([[0, 5 + i % 9] for i in index], pa.list_(pa.int32())),
        pa.array(index // 40, pa.int32()),
        pa.array(index % 40 // 10, pa.int32()),
        pa.array(index % 10, pa.int32()),
        pa.array(index // batch, pa.int64()),
        pa.array([[i % 3, i % 2] for i in index], pa.list_(pa.int16())),
    ]
    return pa.Table.from_arrays(columns, schema=sequence_schema(seq_len))


def stream(cfg: TrainConfig, total_steps: int, jitter: bool = True) -> Callable[[int, int, int], object]:
    """The dataset factory: groups in deal order, made by parallel tasks that finish in any order."""

    def group(batch: pa.Table) -> pa.Table:
        first_step = batch["step"][0].as_py()
        if jitter:
            time.sleep(np.random.default_rng().uniform(0, 0.1))
        count = cfg.group * cfg.global_batch
        rows = sequences(first_step * cfg.global_batch, count, cfg.seq_len, cfg.global_batch)
        steps = rows["step"].to_numpy()
        filler = pa.array(np.where(steps < batch["stop"][0].as_py(), steps, -1), pa.int64())
        rows = rows.set_column(rows.schema.get_field_index("step"), "step", filler)
        return rows.take(pa.array(deal(batch["workers"][0].as_py(), cfg.global_batch, cfg.group)))

    def factory(position: int, stop: int, workers: int) -> object:
        import ray.data

        stop = min(stop, total_steps)
        starts = [{"step": s, "stop": stop, "workers": workers} for s in range(position, stop, cfg.group)]
        dataset = ray.data.from_items(starts, override_num_blocks=len(starts))
        dataset = dataset.map_batches(group, batch_format="pyarrow", batch_size=1)
        rows = cfg.group * cfg.global_batch // workers
        return dataset.repartition(target_num_rows_per_block=rows, strict=True)

    return factory


def kill_worker_after(
    phase_dir: Path, rank: int, step: int, with_signal: int = signal.SIGKILL
) -> threading.Thread:
    """Send a rank's process a signal as soon as rank 0 has finished `step`."""

    def wait_and_kill() -> None:
        metrics = phase_dir / "metrics.jsonl"
        while not (metrics.exists() and f'{{"step": {step},' in metrics.read_text()):
            time.sleep(0.002)
        os.kill(int((phase_dir / f"worker-{rank}.pid").read_text()), with_signal)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def train(run_dir: Path, cfg: TrainConfig, total_steps: int = STEPS, **changes) -> dict:
    arguments = {"total_steps": total_steps, "fingerprint": {"order": "a"}} | changes
    return fit(cfg, "general", stream(cfg, total_steps), run_dir, **arguments)


def final_weights(run_dir: Path, cfg: TrainConfig) -> dict:
    phase_dir = run_dir / "train" / "general"
    return weights(phase_dir / read_pointer(phase_dir).checkpoint, cfg)


def losses(run_dir: Path, phase: str = "general") -> list[float]:
    lines = (run_dir / "train" / phase / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def assert_exact(run_dir: Path, batch: int, steps: int, skipped: frozenset[int] = frozenset()) -> None:
    """Each global batch of the order once, each whole, in order."""
    order = audit.committed_order(run_dir, "general")
    assert audit.check(order, batch, steps, skipped) == []
    rows = sequences(0, steps * batch)
    names = list(zip(*(rows[column].to_pylist() for column in ("epoch", "shard", "index")), strict=True))
    expected = [row for i, row in enumerate(names) if i // batch not in skipped]
    assert [row for _, part in order for row in part] == expected


def assert_same_weights(run_dir: Path, other: Path, cfg: TrainConfig) -> None:
    ours, theirs = final_weights(run_dir, cfg), final_weights(other, cfg)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)

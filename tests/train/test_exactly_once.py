"""Exactly once through everything that ends an attempt: other numbers of workers, segments, bad batches, storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.train.orders import (
    STEPS,
    assert_exact,
    assert_same_weights,
    config,
    kill_worker_after,
    losses,
    stream,
    train,
)
from tests.train.s3 import Server
from train.checkpoints import FOLDER, checkpoint_storage, read_pointer
from train.config import ScheduleConfig
from train.leaving import BAD_STEPS
from train.storage import Storage
from train.trainer import TrainingFailed, fit

pytestmark = pytest.mark.timeout(900)  # worker start-up is most of it, and slow on a loaded machine

BATCH = 12  # 1, 2 and 3 workers divide it


def attempts(run_dir: Path) -> list[dict]:
    lines = (run_dir / "train/general/audit-rank0.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "attempt" in line]


def test_two_then_one_then_three_workers(ray_session, tmp_path: Path) -> None:
    cfg = config(global_batch=BATCH, micro_batch=2, checkpoint_every_steps=4)
    for workers, upto in ((2, 4), (1, 8), (3, 12)):
        resized = cfg.model_copy(update={"num_workers": workers})
        summary = fit(
            resized, "general", stream(cfg, 12), tmp_path, total_steps=upto, fingerprint={"order": "a"}
        )
        assert summary["steps"] == upto
    assert [(line["world"], line["resume"]) for line in attempts(tmp_path)] == [(2, 0), (1, 4), (3, 8)]
    assert_exact(tmp_path, BATCH, 12)


def test_segments_a_kill_and_uploads_in_the_background_change_nothing(ray_session, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(whole, config(async_checkpoints=False, checkpoint_every_steps=3))
    cfg = config(segment_steps=7, checkpoint_every_steps=3, keep_checkpoints=1)
    killer = kill_worker_after(cut / "train/general", rank=1, step=9)
    train(cut, cfg)
    killer.join(timeout=1)
    started = attempts(cut)
    assert len(started) == 3  # a segment, a killed one, and that one again
    assert started[1]["resume"] == 7
    assert started[2]["resume"] in (7, 9)  # 9 where the upload had been through before the kill
    assert_exact(cut, cfg.global_batch, STEPS)
    assert losses(cut) == losses(whole)
    assert_same_weights(cut, whole, cfg)
    phase_dir = cut / "train/general"
    assert [path.name for path in (phase_dir / FOLDER).iterdir()] == [
        Path(read_pointer(phase_dir).checkpoint).name
    ]


def test_a_batch_without_a_finite_loss_is_passed_over_and_recorded(ray_session, tmp_path: Path) -> None:
    phase_dir = tmp_path / "train/general"
    phase_dir.mkdir(parents=True)
    (phase_dir / BAD_STEPS).write_text('{"step": 3, "loss": "nan"}\n')
    summary = train(tmp_path, config(num_workers=1))
    assert summary["skipped_steps"] == [3]
    assert [json.loads(line)["step"] for line in (phase_dir / "metrics.jsonl").read_text().splitlines()] == [
        step for step in range(STEPS) if step != 3
    ]
    assert_exact(tmp_path, 8, STEPS, frozenset({3}))


def test_a_run_that_diverges_ends(ray_session, tmp_path: Path) -> None:
    wild = ScheduleConfig(kind="constant", warmup_tokens=0, peak_lr=1e30, end_lr=0.0)
    cfg = config(num_workers=1, schedule=wild, max_bad_steps=1)
    with pytest.raises(TrainingFailed, match=r"more than 1 global batches without a finite loss"):
        train(tmp_path, cfg)
    found = [json.loads(line) for line in (tmp_path / "train/general" / BAD_STEPS).read_text().splitlines()]
    assert len(found) == 2
    assert all(line["lr"] == 1e30 for line in found)


def test_checkpoints_in_an_object_store(ray_session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = Server()
    server.start()
    try:
        bucket = server.bucket("checkpoints")
        # The workers' environment is Ray's, started before: their credentials travel in the URI here.
        uri = bucket.root.replace("s3://", "s3://test:test@")
        cfg = config(num_workers=1, checkpoint_storage=uri, checkpoint_every_steps=5)
        train(tmp_path / "run", cfg, total_steps=5)
        store = checkpoint_storage(cfg, "general", tmp_path)
        assert read_pointer(store).position == 5
        assert read_pointer(tmp_path / "run/train/general").position == 5  # for those who look at the run
        assert len(store.names(FOLDER)) == 1
        two = cfg.model_copy(update={"num_workers": 2})
        assert train(tmp_path / "run", two, total_steps=10)["steps"] == 10
        assert_exact(tmp_path / "run", 8, 10)
        assert isinstance(store, Storage)
    finally:
        server.stop()

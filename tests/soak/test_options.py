"""Settings that CI has no time or no package for: compiled models, and Weights & Biases without its server."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.train.orders import STEPS, assert_exact, config, losses, train
from train.config import TrackConfig

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_compiled_model_has_the_same_losses(ray_session, tmp_path: Path, stage: int) -> None:
    plain, compiled = config(zero_stage=stage), config(zero_stage=stage, compile=True)
    train(tmp_path / "plain", plain)
    train(tmp_path / "compiled", compiled)
    assert_exact(tmp_path / "compiled", compiled.global_batch, STEPS)
    found, expected = (np.array(losses(tmp_path / name)) for name in ("compiled", "plain"))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.skipif(
    os.environ.get("WANDB_MODE") != "offline", reason="needs WANDB_MODE=offline, for the workers too"
)
def test_weights_and_biases_keeps_each_step(ray_session, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    cfg = config(track=TrackConfig(wandb_project="snowcoder"))
    train(tmp_path, cfg)
    [kept] = (tmp_path / "train/general/wandb").glob("offline-run-*/run-*.wandb")
    assert b"snowcoder" in kept.read_bytes()
    assert b"loss" in kept.read_bytes()

"""A killed worker changes no bit of the weights, whatever DeepSpeed spreads over the ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.orders import (
    STEPS,
    assert_exact,
    assert_same_weights,
    config,
    kill_worker_after,
    losses,
    train,
)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("stage", "precision"), [(0, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (3, "bf16")]
)
def test_weights_after_a_kill_are_those_of_a_quiet_run(
    ray_session, tmp_path: Path, stage: int, precision: str
) -> None:
    cfg = config(zero_stage=stage, precision=precision, async_checkpoints=False)
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    assert train(quiet, cfg)["restarts"] == 0
    killer = kill_worker_after(killed / "train/general", rank=1, step=7)
    assert train(killed, cfg)["restarts"] == 1
    killer.join(timeout=1)
    assert_exact(killed, cfg.global_batch, STEPS)
    assert losses(killed) == losses(quiet)
    assert_same_weights(killed, quiet, cfg)
